"""The runs that have not ended, and the groups that they take, folded from the log by a kernel that follows.

The health of every process says how many runs are active and how many wait. What only the kernel that leads knows is
left out: bodies that linger after their run has ended.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.kernel_health import GroupHealth
from gnomon.domain.records import ExecutionQuery
from gnomon.engine.lane_queue import LaneQueue
from gnomon.engine.recovery import recent_starts
from gnomon.jobs.groups import Group
from gnomon.ports import Clock, Store
from gnomon.stores.reading import newest_kernel_fact

PAGE = 1_000
_ENDS = (events.Succeeded, events.Failed, events.Missed, events.Cancelled)


class _Shares(msgspec.Struct, frozen=True):
    """What of a job decides about its place: its group, and how many of its runs may be active."""

    group: str | None
    instances: float


class LiveRuns:
    """The active and the waiting runs of a log. An event that was counted before changes nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._active: dict[str, str] = {}
        self._waiting: dict[str, tuple[str, datetime | None]] = {}
        self._definitions: dict[str, dict[str, Any]] = {}
        self._shares: dict[str, _Shares] = {}
        self._attached: set[str] = set()
        self._lines: dict[str, LaneQueue] = {}

    async def load(self, store: Store) -> None:
        """Read the runs and the groups from a log; the events after its head, as it was before, are still to come."""
        now = self._clock.now()
        for state in await store.jobs(removed=False):
            self._define(state.job_id, state.definition, state.origin)
        led = await newest_kernel_fact(store, now, _leads)
        if isinstance(led, events.KernelStarted):
            self._set_groups(led.groups)
            await self._count_starts(store, now)
        query: ExecutionQuery | None = ExecutionQuery(
            status=("scheduled", "running"), limit=PAGE, brief=True, counts=False
        )
        newest_first = []
        while query is not None:
            page = await store.executions(query)
            newest_first += page.items
            query = msgspec.structs.replace(query, cursor=page.next) if page.next is not None else None
        for one in reversed(newest_first):
            if one.status == "running":
                self._begin(one.id, one.job_id)
            else:
                self._waiting[one.id] = (one.job_id, one.not_before)

    def fold(self, written: Sequence[Event]) -> None:
        """Count new events of the log."""
        with self._lock:
            for event in written:
                self._fold(event)

    @property
    def active(self) -> int:
        """The number of runs that have begun and not ended."""
        return len(self._active)

    @property
    def waiting(self) -> int:
        """The number of runs that could have begun and have not."""
        with self._lock:
            return len(self._due())

    def groups(self) -> list[GroupHealth]:
        """Return the state of each group. May be called in any thread."""
        with self._lock:
            now, active = self._clock.monotonic(), Counter(self._active.values())
            in_line = Counter(self._shares[job_id].group for job_id in self._jobs_in_line(active))
            found = (line.health(now) for line in self._lines.values())
            return [msgspec.structs.replace(one, waiting=in_line[one.name]) for one in found if one is not None]

    def _jobs_in_line(self, active: Mapping[str, int]) -> Iterable[str]:
        """Return the jobs with a run that waits, and a free slot of their own."""
        jobs = {job_id for job_id in self._due() if job_id in self._shares}
        return (job_id for job_id in jobs if active.get(job_id, 0) < self._shares[job_id].instances)

    def _due(self) -> list[str]:
        now = self._clock.now()
        return [job_id for job_id, not_before in self._waiting.values() if not_before is None or not_before <= now]

    def _fold(self, event: Event) -> None:
        match event:
            case events.Scheduled():
                if event.stream not in self._active:
                    self._waiting[event.stream] = (event.job_id, event.not_before)
            case events.Started():
                self._begin(event.stream, event.job_id, event.at)
            case events.JobEvent():
                self._fold_job(event)
            case events.KernelStarted():
                if event.keeps_time:
                    self._set_groups(event.groups)
            case _ if isinstance(event, _ENDS):
                self._end(event.stream)

    def _fold_job(self, event: events.JobEvent) -> None:
        if isinstance(event, events.JobAdded):
            self._define(event.job_id, event.definition, event.origin)
        elif isinstance(event, events.JobChanged) and event.job_id in self._definitions:
            self._define(event.job_id, self._definitions[event.job_id] | event.changes)

    def _set_groups(self, groups: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the groups, as another kernel leads; starts that count for a rate still do."""
        before, self._lines = self._lines, {}
        for name, raw in groups.items():
            group = msgspec.convert(raw, Group)
            if (line := before.get(name)) is None:
                line = LaneQueue(name, group)
            line.limit_to(group)
            self._lines[name] = line
        for run, job_id in self._active.items():
            self._enter(run, job_id)

    def _end(self, run: str) -> None:
        self._waiting.pop(run, None)
        if (job_id := self._active.pop(run, None)) is not None and (line := self._line_of(job_id)) is not None:
            line.leave(run)

    def _begin(self, run: str, job_id: str, at: datetime | None = None) -> None:
        self._waiting.pop(run, None)
        if run not in self._active and job_id not in self._attached:
            self._active[run] = job_id
            self._enter(run, job_id, at)

    def _enter(self, run: str, job_id: str, at: datetime | None = None) -> None:
        if (line := self._line_of(job_id)) is not None:
            line.runs[run] = job_id
            if at is not None:  # else its start was counted when the log was read
                line.note_start(self._clock.monotonic() - max((self._clock.now() - at).total_seconds(), 0.0))

    def _line_of(self, job_id: str) -> LaneQueue | None:
        shares = self._shares.get(job_id)
        return self._lines.get(shares.group) if shares is not None and shares.group is not None else None

    async def _count_starts(self, store: Store, now: datetime) -> None:
        for name, line in self._lines.items():
            if (rate := line.rate) is not None:
                members = [job_id for job_id, shares in self._shares.items() if shares.group == name]
                line.note_starts(await recent_starts(store, rate, members, now), self._clock.monotonic())

    def _define(self, job_id: str, definition: dict[str, Any], origin: str | None = None) -> None:
        if origin == "attached":  # another scheduler runs it
            self._attached.add(job_id)
        self._definitions[job_id] = definition
        most = definition.get("max_instances") or (float("inf") if definition.get("overlap") == "allow" else 1)
        self._shares[job_id] = _Shares(definition.get("group"), most)


def _leads(event: Event) -> bool:
    return isinstance(event, events.KernelStarted) and event.keeps_time
