"""Checks that hold for every log: for tests of kernels, stores and plugins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise

from gnomon.domain import codec, events, execution
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.records import ExecutionQuery
from gnomon.errors import TransitionError
from gnomon.ports import Store
from gnomon.testing.histories import job_states


async def check_store(store: Store) -> list[Event]:
    """Read the whole log of a store, check the log and the store's views against it, and return it."""
    log: list[Event] = []
    while page := await store.read(log[-1].position if log else 0):
        log += page
    views, cursor = [], None
    while True:
        found = await store.executions(ExecutionQuery(hidden=True, limit=200, cursor=cursor))
        views += found.items
        if (cursor := found.next) is None:
            break
    check_log(log, views, await store.jobs())
    return log


def check_log(
    log: Sequence[Event], executions: Iterable[Execution] | None = None, jobs: Iterable[JobState] | None = None
) -> None:
    """Raise AssertionError if a complete log breaks a guarantee, or if the given views do not follow from it.

    Positions count from 1 without a gap, and so do versions in each stream; every history is legal; no fire of a job
    has two outcomes; every event can be encoded and decoded without a change.
    """
    assert [event.position for event in log] == list(range(1, len(log) + 1)), "positions are not 1, 2, 3, ..."
    streams: dict[str, list[Event]] = defaultdict(list)
    for event in log:
        assert codec.decode(codec.encode(event)) == event, f"{event} is changed by encoding and decoding"
        streams[event.stream].append(event)
    for stream, history in streams.items():
        versions = [event.version for event in history]
        assert versions == list(range(1, len(history) + 1)), f"versions of stream {stream} are {versions}"
    folded = _fold(streams)
    _check_fires(log)
    if executions is not None:
        stored = {view.id: view for view in executions}
        assert stored.keys() == folded.keys(), f"the store has other executions: {stored.keys() ^ folded.keys()}"
        for identity, view in folded.items():
            assert stored[identity] == view, f"the store has {stored[identity]}, the log gives {view}"
    if jobs is not None:
        kept, expected = {state.job_id: state for state in jobs}, {state.job_id: state for state in job_states(log)}
        assert kept == expected, f"the store has the jobs {kept}, the log gives {expected}"


def _fold(streams: dict[str, list[Event]]) -> dict[str, Execution]:
    folded = {}
    for stream, history in streams.items():
        if not isinstance(history[0], events.ExecutionEvent):
            continue
        try:
            folded[stream] = execution.fold(history)
        except TransitionError as exc:
            raise AssertionError(f"stream {stream} has an illegal history: {exc}") from exc
    return folded


def fire_ranges(log: Iterable[Event], job_id: str) -> list[tuple[datetime, datetime, int]]:
    """Return the fires of a job that have an outcome or wait for one, as (first, last, count), in order of time."""
    ranges = []
    for event in log:
        if event.job_id != job_id or not event.is_fire:
            continue
        if isinstance(event, events.Missed):
            ranges.append((event.first_fire, event.last_fire, event.count))
        elif isinstance(event, events.Scheduled):
            ranges.append((event.scheduled_time, event.scheduled_time, 1))
    return sorted(ranges)


def _check_fires(log: Sequence[Event]) -> None:
    for job_id in {event.job_id for event in log}:
        for one, following in pairwise(fire_ranges(log, job_id)):
            assert one[1] < following[0], f"fires of job {job_id} have two outcomes: {one} and {following}"
