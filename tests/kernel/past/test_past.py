"""The log as it was: at any moment of a random log, every answer is that of a log which ends there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon import (
    CancelRequested,
    Event,
    Execution,
    ExecutionQuery,
    Failed,
    JobAdded,
    JobPaused,
    JobRemoved,
    JobResumed,
    JobState,
    Scheduled,
    Started,
    Succeeded,
)
from gnomon.domain import job_state
from gnomon.domain.events import Hidden, Missed
from gnomon.domain.execution import begin
from gnomon.domain.records import ActionQuery
from gnomon.domain.run_sorting import RunSort
from gnomon.errors import PastError
from gnomon.past import log_index
from gnomon.past.log_index import LogIndex
from gnomon.past.past_store import PastStore
from gnomon.ports import Store
from gnomon.stores.memory import MemoryStore

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
JOBS = ("a", "b", "c")
SECOND = timedelta(seconds=1)
Step = tuple[str, int, int]
"""What happens, to which of the things there are, and how many seconds after the step before."""
WHAT = "add add remove pause schedule schedule schedule start start start end end fail cancel hide hide miss"
steps = st.lists(
    st.tuples(
        st.sampled_from(WHAT.split()),
        st.integers(0, 5),
        st.sampled_from([0, 1, 7]),
    ),
    min_size=30,
    max_size=60,
)


class Writer:
    """Writes a random log: what is not possible at a step is left out."""

    def __init__(self) -> None:
        self.now = NOON
        self.events: list[Event] = []
        self.runs: dict[str, Execution] = {}
        self.jobs: dict[str, JobState] = {}

    def take(self, step: Step) -> None:
        what, which, seconds = step
        self.now += seconds * SECOND
        if what in {"add", "remove", "pause"}:
            self._job(what, JOBS[which % 3])
        elif what in {"schedule", "miss"}:
            self._begin(what, JOBS[which % 3])
        else:
            self._run(what, which)

    def _job(self, what: str, job_id: str) -> None:
        state = self.jobs.get(job_id)
        is_there = state is not None and not state.removed
        if what == "add" and not is_there:
            self._add(JobAdded, f"job:{job_id}", job_id, definition={"id": job_id, "func": "m:f", "every": "1h"})
        elif what == "remove" and is_there:
            self._add(JobRemoved, f"job:{job_id}", job_id, actor="ann")
        elif what == "pause" and state is not None and is_there:
            self._add(JobResumed if state.paused else JobPaused, f"job:{job_id}", job_id, actor="ann")

    def _begin(self, what: str, job_id: str) -> None:
        if job_id not in self.jobs:
            return
        stream = f"{len(self.runs):024x}"
        facts: dict[str, Any] = {"scheduled_time": self.now, "is_manual": len(self.runs) % 3 == 0}
        if what == "miss":
            self._add(Missed, stream, job_id, job_name=job_id, reason="late", **facts)
        else:
            self._add(Scheduled, stream, job_id, job_name=job_id, **facts)

    def _run(self, what: str, which: int) -> None:
        able: Any = {
            "start": lambda run: run.status == "scheduled",
            "end": lambda run: run.status == "running",
            "fail": lambda run: run.status == "running",
            "cancel": lambda run: run.status == "running",
            "hide": lambda run: run.is_over and not run.hidden,
        }[what]
        found = [run for run in self.runs.values() if able(run)]
        if not found:
            return
        run = found[which % len(found)]
        kinds: Any = {
            "start": (Started, {"runner": "async", "worker": "w", "delay": 0.0}),
            "end": (Succeeded, {"return_value": 1, "execution_time": 1.0}),
            "fail": (Failed, {"reason": "exception", "error_type": "E", "error_message": "no", "execution_time": 1.0}),
            "cancel": (CancelRequested, {"actor": "ann"}),
            "hide": (Hidden, {"actor": "ann"}),
        }
        kind, facts = kinds[what]
        self._add(kind, run.id, run.job_id, **facts)

    def _add(self, kind: Any, stream: str, job_id: str, **facts: Any) -> None:
        version = sum(event.stream == stream for event in self.events) + 1
        place = {"position": len(self.events) + 1, "stream": stream, "version": version, "node": "n", "job_id": job_id}
        event = kind(at=self.now, **place, **facts)
        self.events.append(event)
        if stream.startswith("job:"):
            if job_id in self.jobs:
                self.jobs[job_id].apply(event)
            else:
                self.jobs[job_id] = job_state.begin(event)
        elif stream in self.runs:
            self.runs[stream].apply(event)
        else:
            self.runs[stream] = begin(event)
            self.jobs[job_id].apply(event)


def written(events: Sequence[Event]) -> tuple[dict[str, Execution], dict[str, JobState]]:
    """Fold the views of a log again."""
    runs: dict[str, Execution] = {}
    jobs: dict[str, JobState] = {}
    for event in events:
        if event.stream.startswith("job:"):
            if event.job_id in jobs:
                jobs[event.job_id].apply(event)
            else:
                jobs[event.job_id] = job_state.begin(event)
        else:
            if event.stream in runs:
                runs[event.stream].apply(event)
            else:
                runs[event.stream] = begin(event)
            jobs[event.job_id].apply(event)
    return runs, jobs


async def log_of(events: Sequence[Event]) -> MemoryStore:
    store = MemoryStore()
    await store.open()
    runs, jobs = written(events)
    await store.append(events, list(runs.values()), list(jobs.values()))
    return store


def up_to(events: Sequence[Event], at: datetime) -> list[Event]:
    """Return the log up to the last event that is not later."""
    last = max((event.position for event in events if event.at <= at), default=0)
    return list(events[:last])


QUERIES = [
    ExecutionQuery(),
    ExecutionQuery(status=("running", "scheduled")),
    ExecutionQuery(status=("success",), limit=2),
    ExecutionQuery(job_id="a", limit=1, offset=1),
    ExecutionQuery(hidden=True, limit=3),
    ExecutionQuery(is_manual=True, text="NO"),
    ExecutionQuery(limit=2, sort=RunSort("status", descending=False)),
    ExecutionQuery(per_job=2),
    ExecutionQuery(per_job=1, status=("success",)),
]


async def answers(store: Store) -> Iterator[Any]:
    """Return every answer about the runs of a store, all pages of each list."""
    found: list[Any] = []
    for query in QUERIES:
        page = await store.executions(query)
        found.append(page)
        while page.next is not None:
            page = await store.executions(msgspec.structs.replace(query, cursor=page.next, offset=0))
            found.append(page)
    found.extend([await store.actions(ActionQuery()), await store.head(), await store.read(0, 1000)])
    return iter(found)


def plain(state: JobState) -> Any:
    return msgspec.structs.replace(state, last_fire=None, newest_fire=None)


@settings(deadline=None, max_examples=100)
@given(steps, st.integers(0, 59), st.sampled_from([-1, 0, 1]), st.sampled_from([3, 10, 4000]), st.integers(0, 200))
async def test_the_state_of_a_moment_is_that_of_a_log_that_ends_there(
    taken: list[Step], which: int, beside: int, segment: int, set_back: int
) -> None:
    writer = Writer()
    for n, step in enumerate([("add", 0, 0), ("add", 1, 1), *taken]):
        writer.take(step)
        writer.now -= 9 * SECOND if n == set_back else timedelta()
    at = writer.events[which % len(writer.events)].at + beside * SECOND / 2
    expected = up_to(writer.events, at)
    whole = await log_of(writer.events)
    index = LogIndex(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_index, "SEGMENT", segment)
        patch.setattr("gnomon.stores.reading.BLOCK", min(segment, 7))
        if not expected:
            with pytest.raises(PastError, match="the log begins at"):
                await index.find(at)
            return
        past = await index.find(at)
    then, ended = PastStore(whole, past), await log_of(expected)

    assert (past.moment.position, past.moment.lost, past.moment.before) == (len(expected), 0, expected[-1])
    assert past.moment.after == (writer.events[len(expected)] if len(expected) < len(writer.events) else None)
    for run_id in writer.runs:
        assert await then.execution(run_id) == await ended.execution(run_id)
        assert await then.stream(run_id) == await ended.stream(run_id)
    assert [plain(one) for one in await then.jobs()] == [plain(one) for one in await ended.jobs()]
    assert [plain(one) for one in await then.jobs(["a"], removed=False)] == [
        plain(one) for one in await ended.jobs(["a"], removed=False)
    ]
    if is_in_order(writer.events):
        for found, wanted in zip(await answers(then), await answers(ended), strict=True):
            assert found == wanted


def is_in_order(events: Sequence[Event]) -> bool:
    """Whether no clock was set back: lists are cut by the times of runs."""
    return all(one.at <= other.at for one, other in pairwise(events))


@settings(deadline=None, max_examples=50)
@given(steps, st.integers(0, 59), st.integers(0, 59))
async def test_after_retention_a_moment_says_what_is_missing(taken: list[Step], which: int, kept: int) -> None:
    writer = Writer()
    for step in [("add", 0, 0), ("add", 1, 1), *taken]:
        writer.take(step)
    whole = await log_of(writer.events)
    await whole.prune(writer.events[kept % len(writer.events)].at)
    at = writer.events[which % len(writer.events)].at
    past = await LogIndex(whole).find(at)
    then, ended = PastStore(whole, past), await log_of(up_to(writer.events, at))

    unfinished = ExecutionQuery(status=("scheduled", "running"), limit=100)
    found, expected = (await then.executions(unfinished)).items, (await ended.executions(unfinished)).items
    assert {run.id for run in found} <= {run.id for run in expected}
    assert past.moment.lost > 0 or found == expected
    assert (past.moment.lost > 0) == (len(await whole.read(0, 1000)) < len(writer.events))


async def test_a_run_whose_events_are_deleted_after_the_log_was_read_is_left_out() -> None:
    writer = Writer()
    for step in [("add", 0, 0), ("schedule", 0, 1), ("start", 0, 1), ("pause", 0, 1), ("end", 0, 1), ("pause", 0, 9)]:
        writer.take(step)
    whole, at = await log_of(writer.events), NOON + 3 * SECOND
    index = LogIndex(whole)
    before = (await PastStore(whole, await index.find(at)).executions(QUERIES[0])).items
    assert [run.status for run in before] == ["running"]

    await whole.prune(NOON + 9 * SECOND)
    past = await index.find(at)
    assert (await PastStore(whole, past).executions(QUERIES[0])).total == 0
    assert past.moment.lost == 3


async def test_the_past_cannot_be_changed() -> None:
    writer = Writer()
    writer.take(("add", 0, 0))
    whole = await log_of(writer.events)
    past = PastStore(whole, await LogIndex(whole).find(NOON))

    with pytest.raises(PastError, match="cannot be changed"):
        await past.append([], [], [])
    with pytest.raises(PastError, match="skips at most"):
        await past.executions(ExecutionQuery(offset=10_001))
