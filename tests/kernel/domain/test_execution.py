import copy
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from gnomon.domain import events, execution
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.errors import TransitionError
from gnomon.testing.histories import (
    NOON,
    SECOND,
    cancelled,
    extend,
    failed,
    missed,
    running,
    scheduled,
    succeeded,
    unknown,
)

IN_STATE = {
    "scheduled": scheduled(),
    "running": running(),
    "success": succeeded(),
    "failed": failed(),
    "missed": missed(),
    "cancelled": cancelled(),
}
OVER = ("success", "failed", "missed", "cancelled")

LEGAL: dict[tuple[str, type[Event]], str] = {
    ("scheduled", events.Started): "running",
    ("scheduled", events.Missed): "missed",
    ("scheduled", events.Cancelled): "cancelled",
    ("scheduled", events.Failed): "failed",
    ("scheduled", events.CancelRequested): "scheduled",
    ("running", events.Progress): "running",
    ("running", events.CancelRequested): "running",
    ("scheduled", events.HandedOver): "scheduled",
    ("scheduled", events.Warned): "scheduled",
    ("running", events.Warned): "running",
    ("running", events.Succeeded): "success",
    ("running", events.Failed): "failed",
    ("running", events.Cancelled): "cancelled",
    **{(state, events.LateResult): state for state in OVER},
    **{(state, events.Hidden): state for state in OVER},
    **{(state, events.UnknownEvent): state for state in IN_STATE},
}

ALERT: dict[str, Any] = {"alert_id": "d" * 24}
PAYLOADS: dict[type[Event], dict[str, Any]] = {
    events.Scheduled: {"scheduled_time": NOON},
    events.Started: {"runner": "thread"},
    events.Succeeded: {"execution_time": 1.0},
    events.Failed: {"reason": "lost"},
    events.Missed: {"scheduled_time": NOON, "reason": "late"},
    events.Warned: {"kind": "silence", "message": "too quiet"},
    events.HandedOver: {"runner": "celery", "queue": "reports"},
    events.LateResult: {"outcome": "succeeded"},
    events.Imported: {
        "source": "cron.runs",
        "status": "success",
        **dict.fromkeys(("scheduled_time", "started_at", "ended_at"), NOON),
    },
    events.ActionImported: {"source": "cron.acts", "source_id": "1", "acted_at": NOON, "action": "pause"},
    events.JobAdded: {"definition": {}},
    events.JobChanged: {"changes": {}},
    events.KernelStarted: {"host": "machine-a", "pid": 7},
    events.KernelLed: {"pid": 7, "why": "start", "deployment": 1, "digest": "0c1f"},
    events.KernelStopped: {"reason": "SIGTERM"},
    events.ClockChanged: {
        "direction": "back",
        "microseconds": 6_000_000,
        "wall_microseconds": -5_000_000,
        "monotonic_microseconds": 1_000_000,
    },
    events.QueueStalled: {"runner": "celery", "queue": "reports", "reason": "no worker"},
    events.QueueResumed: {"runner": "celery", "queue": "reports", "reason": "no worker", "seconds": 60.0},
    events.KernelHeldUp: {"kind": "paused", "seconds": 7.0, "until": NOON, "detail": "the process did not run"},
    events.FireSkipped: {"scheduled_time": NOON},
    events.BackfillStarted: {"since": NOON, "until": NOON},
    events.BackfillEnded: {"runs": 2, "left_out": 1},
    events.ActRefused: {"actor": "ann", "action": "trigger", "message": "there is no job 'tok'"},
    events.LoggedIn: {"actor": "ann", "via": "token", "session": "a", "expires": NOON},
    events.LoggedOut: {"actor": "ann", "name": "ann", "session": "a", "reason": "logout"},
    events.AccessDenied: {"actor": "nobody", "reason": "invalid-token", "address": "203.0.113.9"},
    events.AlertOpened: ALERT
    | {"rule": "failed", "kind": "failed", "severity": "error", "since": NOON, "message": "m"},
    events.AlertRepeated: ALERT | {"count": 2, "last": NOON, "message": "m"},
    events.AlertAcknowledged: ALERT,
    events.AlertSnoozed: ALERT | {"until": NOON},
    events.AlertResolved: ALERT | {"why": "succeeded"},
    events.UnknownEvent: {"raw": {}},
}
ALL_TYPES = (*events.ALL_EVENTS, events.UnknownEvent)


def follow_up(state: str, event_type: type[Event]) -> tuple[Execution, Event]:
    history = IN_STATE[state]
    return execution.fold(history), extend(history, event_type, **PAYLOADS.get(event_type, {}))[-1]


@pytest.mark.parametrize("event_type", ALL_TYPES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("state", IN_STATE)
def test_each_state_takes_the_events_that_are_legal_in_it_and_no_others(state: str, event_type: type[Event]) -> None:
    view, event = follow_up(state, event_type)
    before = copy.copy(view)

    if (expected := LEGAL.get((state, event_type))) is None:
        with pytest.raises(TransitionError) as caught:
            view.apply(event)
        assert (caught.value.stream, caught.value.state) == (event.stream, state)
        assert view == before
    else:
        view.apply(event)
        assert view.status == expected
        assert (view.version, view.updated_at) == (
            event.version,
            before.updated_at if event_type is events.Hidden else event.at,
        )


@pytest.mark.parametrize("event_type", ALL_TYPES, ids=lambda t: t.__name__)
def test_a_stream_begins_with_scheduled_missed_or_imported_and_nothing_else(event_type: type[Event]) -> None:
    payload = PAYLOADS.get(event_type, {})
    event = event_type(stream="a" * 24, version=1, at=NOON, node="n", job_id="sync", **payload)

    if event_type in {events.Scheduled, events.Missed, events.Imported}:
        assert execution.begin(event).version == 1
    else:
        with pytest.raises(TransitionError, match="nothing"):
            execution.begin(event)


@pytest.mark.parametrize("version", [0, 1, 2, 4, 99])
def test_an_event_out_of_order_is_refused_and_changes_nothing(version: int) -> None:
    view = execution.fold(running())
    before = copy.copy(view)
    event = events.Succeeded(
        stream=view.id, version=version, at=NOON + 3 * SECOND, node="n", job_id="sync", execution_time=1.0
    )

    with pytest.raises(TransitionError):
        view.apply(event)

    assert view == before


def test_a_stream_cannot_begin_in_its_middle() -> None:
    with pytest.raises(TransitionError):
        execution.fold(running()[1:])


def test_the_timestamp_is_the_recording_until_the_run_starts() -> None:
    history = running()

    waiting, going = execution.fold(history[:1]), execution.fold(history)

    assert (waiting.timestamp, going.timestamp) == (NOON, NOON + SECOND)


def test_what_comes_after_the_end_changes_nothing_but_late_result() -> None:
    history = extend(failed(), events.LateResult, outcome="succeeded", return_value=42)

    before, after = execution.fold(history[:-1]), execution.fold(history)

    assert after.late_result == "succeeded"
    before.late_result, before.version, before.updated_at = "succeeded", after.version, after.updated_at
    assert after == before


def test_who_asked_for_the_cancel_is_known_when_the_end_does_not_tell() -> None:
    asked = extend(running(), events.CancelRequested, actor="ann")

    view = execution.fold(extend(asked, events.Cancelled))

    assert (view.cancel_requested, view.cancelled_by) == (True, "ann")


def test_an_unknown_event_counts_as_a_version_and_tells_nothing() -> None:
    history = running()
    future = unknown("sync")
    view = execution.fold(history)
    view.apply(
        events.UnknownEvent(stream=view.id, version=3, at=NOON + 2 * SECOND, node="b", job_id="sync", raw=future.raw)
    )

    view.apply(extend(extend(history, events.Progress), events.Succeeded, execution_time=1.0)[-1])

    assert (view.status, view.version) == ("success", 4)


def test_views_do_not_share_what_they_hold_with_each_other() -> None:
    one, two = execution.fold(scheduled()), execution.fold(scheduled())

    one.kwargs["market"] = "cn"

    assert two.kwargs == {}


def test_a_fire_always_has_the_same_id() -> None:
    fire = datetime(2026, 12, 1, 18, 0, 0, 123456, tzinfo=UTC)
    in_shanghai = fire.astimezone(timezone(timedelta(hours=8)))

    assert execution.execution_id("sync", fire) == execution.execution_id("sync", in_shanghai)
    assert execution.execution_id("sync", fire) == "6b0f0b2018e57da9529afc65"


def test_ids_differ_by_job_by_microsecond_and_by_attempt() -> None:
    micro = timedelta(microseconds=1)
    fires = [(job, NOON + n * micro, attempt) for job in ("a", "b", "a1") for n in (0, 1, 2) for attempt in (1, 2, 11)]

    assert len({execution.execution_id(*fire) for fire in fires}) == len(fires)


@pytest.mark.parametrize("moment", [datetime(1969, 12, 31, tzinfo=UTC), NOON, datetime(2200, 1, 1, tzinfo=UTC)])
def test_an_id_has_the_shape_of_an_object_id_that_tells_the_second(moment: datetime) -> None:
    found = execution.execution_id("sync", moment)

    assert re.fullmatch("[0-9a-f]{24}", found)
    assert int(found[:8], 16) == int(moment.timestamp()) % 2**32


def test_manual_runs_have_ids_of_their_own_unless_a_key_says_they_are_the_same() -> None:
    later = NOON + timedelta(hours=1)

    assert len({execution.manual_execution_id("sync", NOON) for _ in range(100)}) == 100
    assert execution.manual_execution_id("sync", NOON, "k") == execution.manual_execution_id("sync", later, "k")
    assert execution.manual_execution_id("sync", NOON, "k") != execution.manual_execution_id("report", NOON, "k")
    assert execution.manual_execution_id("sync", NOON, "k") != execution.manual_execution_id("sync", NOON, "l")
    assert re.fullmatch("[0-9a-f]{24}", execution.manual_execution_id("sync", NOON, "k"))


def test_hiding_changes_nothing_but_the_place_in_lists_and_the_version() -> None:
    view = execution.fold(succeeded())
    hidden = execution.fold(extend(succeeded(), events.Hidden, after=timedelta(days=1), actor="ann"))

    assert hidden == msgspec.structs.replace(view, hidden=True, version=4)
