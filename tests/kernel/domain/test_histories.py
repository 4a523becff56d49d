"""Old logs are regression tests: what is checked in here must be readable, and tell the same, for ever."""

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from gnomon.domain import codec, events, execution
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.testing.histories import job_states

FILES = sorted((Path(__file__).parents[2] / "histories").glob("*.json"))


def load(path: Path) -> tuple[dict[str, Any], list[Event]]:
    document = json.loads(path.read_bytes())
    return document, [codec.decode(json.dumps(event).encode()) for event in document["events"]]


def fold_executions(log: list[Event]) -> list[Execution]:
    streams: dict[str, list[Event]] = {}
    for event in log:
        if not event.stream.startswith(("job:", "kernel:")):
            streams.setdefault(event.stream, []).append(event)
    return [execution.fold(stream) for stream in streams.values()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_executions_are_what_the_file_says(path: Path) -> None:
    document, log = load(path)

    assert fold_executions(log) == msgspec.convert(document["executions"], list[Execution])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_job_states_are_what_the_file_says(path: Path) -> None:
    document, log = load(path)

    assert job_states(log) == msgspec.convert(document["jobs"], list[JobState])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_writing_and_reading_again_changes_nothing(path: Path) -> None:
    document, log = load(path)

    written = [codec.encode(event) for event in log]

    assert [codec.decode(body) for body in written] == log
    if document["events"][0].get("log_format") == events.LOG_FORMAT:
        assert [json.loads(body) for body in written] == document["events"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_views_survive_being_kept_as_json(path: Path) -> None:
    _, log = load(path)

    for view in fold_executions(log):
        assert msgspec.json.decode(msgspec.json.encode(view), type=Execution) == view


def test_every_event_type_every_status_and_every_missed_reason_has_a_history() -> None:
    logs = [load(path)[1] for path in FILES]

    types = {type(event) for log in logs for event in log}
    views = [view for log in logs for view in fold_executions(log) if view.imported_from is None]

    assert types == {*events.ALL_EVENTS, events.UnknownEvent}
    assert {view.status for view in views} == execution.FINAL
    assert {view.reason for view in views if view.status == "missed"} == set(get_args(events.MissedReason))
    assert {view.reason for view in views if view.status == "failed"} == set(get_args(events.FailedReason))
