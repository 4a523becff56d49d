import json
from typing import Any

import msgspec
import pytest

from gnomon.domain import codec, events
from gnomon.domain.events import UnknownEvent
from gnomon.errors import StoreError
from gnomon.testing.histories import NOON, every_type, numbered, scheduled, succeeded, unknown

HEADER = {"position": 7, "stream": "a" * 24, "version": 1, "at": "2026-12-01T12:00:00Z", "node": "n", "job_id": "sync"}


def decode(**raw: Any) -> events.Event:
    return codec.decode(json.dumps(raw).encode())


@pytest.mark.parametrize("event", numbered(*every_type()), ids=lambda e: f"{e.position}-{e.type}")
def test_an_event_comes_back_as_it_was(event: events.Event) -> None:
    body = codec.encode(event)

    again = codec.decode(body)

    assert type(again) is type(event)
    assert codec.encode(again) == body


def test_an_event_is_one_flat_object_that_tells_its_type_and_format() -> None:
    (event,) = numbered(scheduled())

    assert json.loads(codec.encode(event)) == {
        "type": "scheduled",
        "position": 1,
        "stream": event.stream,
        "version": 1,
        "at": "2026-12-01T12:00:00Z",
        "node": "node-a",
        "job_id": "sync",
        "log_format": events.LOG_FORMAT,
        "scheduled_time": "2026-12-01T12:00:00Z",
    }


def test_a_type_from_the_future_is_kept_with_all_that_it_says() -> None:
    raw = {**HEADER, "type": "teleported", "log_format": 9, "where": {"planet": "Mars", "by": None}}

    event = decode(**raw)

    assert isinstance(event, UnknownEvent)
    assert (event.position, event.version, event.job_id, event.at) == (7, 1, "sync", NOON)
    assert json.loads(codec.encode(event)) == raw
    assert codec.decode(codec.encode(event)) == event


def test_an_event_from_the_future_takes_the_position_that_it_gets_here() -> None:
    event = msgspec.structs.replace(unknown(), position=99)

    assert json.loads(codec.encode(event))["position"] == 99
    assert codec.decode(codec.encode(event)).position == 99


def test_a_payload_that_looks_like_another_event_stays_a_payload() -> None:
    inner = {"type": "unknown", "log_format": 1, "duration": 3}
    (*_, event) = succeeded(return_value=inner)

    again = codec.decode(codec.encode(event))

    assert isinstance(again, events.Succeeded)
    assert again.return_value == inner


def test_fields_that_came_later_have_their_defaults() -> None:
    event = decode(**HEADER, type="scheduled", log_format=2, scheduled_time="2026-12-01T12:00:00Z")

    assert isinstance(event, events.Scheduled)
    assert (event.attempt, event.kwargs, event.retry_of, event.force) == (1, {}, None, False)


def test_fields_that_this_version_does_not_know_are_skipped() -> None:
    event = decode(**HEADER, type="started", log_format=2, runner="thread", colour="blue")

    assert event == decode(**HEADER, type="started", log_format=2, runner="thread")


@pytest.mark.parametrize("log_format", [{}, {"log_format": 1}])
@pytest.mark.parametrize(
    "payload",
    [
        {"type": "succeeded"},
        {"type": "failed", "reason": "timeout"},
        {"type": "cancelled"},
        {"type": "late_result", "outcome": "failed"},
    ],
    ids=lambda payload: payload["type"],
)
def test_format_1_called_the_execution_time_duration(payload: dict[str, Any], log_format: dict[str, int]) -> None:
    event = decode(**HEADER, **payload, **log_format, duration=2.5)

    assert event.execution_time == 2.5  # type: ignore[attr-defined]
    assert event.log_format == events.LOG_FORMAT


def test_format_1_called_the_reason_late_misfire() -> None:
    event = decode(**HEADER, type="missed", scheduled_time="2026-12-01T12:00:00Z", reason="misfire")

    assert isinstance(event, events.Missed)
    assert event.reason == "late"


@pytest.mark.parametrize(
    ("actor", "payload", "by_kernel"),
    [
        ("kernel", {"type": "cancel_requested"}, True),
        ("kernel", {"type": "job_removed"}, True),
        ("kernel", {"type": "job_paused"}, False),
        ("ann", {"type": "cancel_requested"}, False),
    ],
)
def test_format_2_marked_acts_of_the_kernel_by_the_name_alone(
    actor: str, payload: dict[str, str], by_kernel: bool
) -> None:
    event = decode(**HEADER, **payload, log_format=2, actor=actor)

    assert event.by_kernel is by_kernel  # type: ignore[attr-defined]


def test_every_older_format_has_an_upcaster() -> None:
    assert sorted(codec.UPCASTERS) == list(range(1, events.LOG_FORMAT))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\xff",
        b"[]",
        b"null",
        b'"scheduled"',
        b"{}",
        b'{"type": 5}',
        b'{"type": ["scheduled"]}',
        b'{"type": "scheduled"}',
        b'{"type": "teleported", "version": 1}',
        b'{"type": "scheduled", "version": "one", broken',
        b'{"type": "scheduled", "stream": "\xff"}',
        b'{"type": "started", "log_format": 0}',
        b'{"type": "started", "log_format": "two"}',
        b'{"type": "job_paused", "stream": "job:a", "version": 1, "at": "yesterday", "node": "n", "job_id": "a"}',
    ],
)
def test_what_is_no_event_is_a_store_error_that_shows_it(body: bytes) -> None:
    with pytest.raises(StoreError):
        codec.decode(body)


# --- batches ---


def test_the_json_of_a_batch_is_made_once_for_the_store_and_for_viewers() -> None:
    batch = codec.EventBatch(numbered(*every_type()))
    plain = list(batch)

    rows, texts = codec.encode_rows(batch, 4), codec.encode_each(batch)

    assert rows == codec.encode_rows(plain, 4)
    assert texts == codec.encode_each(plain) == [codec.encode(event) for event in plain]
    assert codec.encode_rows(batch, 4) is rows
    assert codec.encode_each(batch) is texts


def test_a_batch_that_no_store_has_encoded_is_encoded_event_by_event() -> None:
    batch = codec.EventBatch(numbered(scheduled(), succeeded()))

    assert codec.encode_each(batch) == [codec.encode(event) for event in batch]


def test_rows_of_another_size_are_not_those_of_the_store() -> None:
    batch = codec.EventBatch(numbered(*every_type()))
    codec.encode_rows(batch, 4)

    assert codec.encode_rows(batch, 3) == codec.encode_rows(list(batch), 3)


def test_copies_of_a_batch_share_the_json_of_the_originals() -> None:
    batch = codec.EventBatch(numbered(scheduled(), succeeded()))
    rows = codec.encode_rows(batch, 2)

    copies = batch.of_copies([msgspec.structs.replace(event, node="changed") for event in batch])

    assert [event.node for event in copies] == ["changed"] * len(batch)
    assert codec.encode_rows(copies, 2) is rows
    assert codec.encode_each(copies) == [codec.encode(event) for event in batch]
