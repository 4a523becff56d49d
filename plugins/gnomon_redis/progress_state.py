"""What Redis is to hold: the fold of every run that is not over, and the last record of those that ended recently."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec

from gnomon import Event, Execution, TransitionError
from gnomon.domain import execution
from gnomon.domain.events import ExecutionEvent, Imported
from gnomon_redis.past_durations import PastDurations
from gnomon_redis.progress_record import ProgressRecord, encode, record_of

MOST_ENDED = 10_000
"""Ended runs that are kept, at about a kilobyte each, to be written again after an outage."""


class RecordWrite(msgspec.Struct, frozen=True, kw_only=True):
    """One record to be written; `ttl` is its lifetime from now, `is_new` whether followers have not seen it yet.

    `revision` counts how often the run became due. A run that became due again after this write was built stays due.
    """

    execution_id: str
    job_id: str
    record: bytes
    ttl: float
    version: int
    revision: int
    is_over: bool
    is_new: bool


class TrackedRun:
    """One run: its state, and how much of it has been written."""

    def __init__(self, state: Execution) -> None:
        self.id, self.job_id = state.id, state.job_id
        self.state: Execution | None = state
        self.version = state.version
        self.durable_version = state.version
        self.written_version = 0
        self.ended_at: datetime | None = None
        self.record = b""
        self.revision = 0
        self.written_at = float("-inf")


class ProgressState:
    """The tracked runs, and which of them are due to be written.

    Of each run only the latest state is written, and the end of a run is never skipped. This class does no I/O and has
    no clock: `now` is wall time; `moment` is monotonic time in seconds. `live_ttl` is how long the record of a running
    run lives without being renewed.
    """

    def __init__(
        self, ttl: timedelta, live_ttl: timedelta, past_durations: PastDurations, most_ended: int = MOST_ENDED
    ) -> None:
        self.encode: Callable[[ProgressRecord], bytes] = encode
        self.dropped = 0
        self.position = 0
        self.unknown_runs: dict[str, int] = {}
        self.unknown_jobs: set[str] = set()
        self.refused: dict[str, str] = {}
        self._ttl = ttl.total_seconds()
        self._live_ttl = live_ttl.total_seconds()
        self._past_durations = past_durations
        self._most_ended = most_ended
        self._runs: dict[str, TrackedRun] = {}
        self._ended: OrderedDict[str, TrackedRun] = OrderedDict()
        self._due: OrderedDict[str, int] = OrderedDict()  # with the position of each run's first unwritten event

    @property
    def has_due(self) -> bool:
        """Whether anything waits to be written."""
        return bool(self._due)

    @property
    def due_count(self) -> int:
        """How many runs wait to be written."""
        return len(self._due)

    def is_tracking(self, execution_id: str) -> bool:
        """Whether a run is known here, running or ended."""
        return execution_id in self._runs

    @property
    def written_position(self) -> int:
        """The position up to which everything has been written."""
        return min(self._due.values(), default=self.position + 1) - 1

    def apply(self, events: Iterable[Event]) -> None:
        """Fold events in. Runs whose first events are missing are added to `unknown_runs` until they are adopted."""
        for event in events:
            self.position = max(self.position, event.position)
            if isinstance(event, Imported):
                continue  # it ended long ago
            if isinstance(event, ExecutionEvent) and not self._fold(event):
                self.mark_unknown(event)

    def mark_unknown(self, event: Event) -> None:
        """Record a run that has to be adopted, with the newest of its events that is known to be durable."""
        self.unknown_runs[event.stream] = max(self.unknown_runs.get(event.stream, 0), event.version)

    def adopt(self, state: Execution, durable_version: int, now: datetime) -> None:
        """Add a run as the kernel knows it.

        The kernel's view may be ahead of `durable_version`; it is written when its last event has been delivered.
        """
        self.unknown_runs.pop(state.id, None)
        known = self._runs.get(state.id)
        if known is not None and known.version >= state.version:
            return
        if state.is_over and (now - state.updated_at).total_seconds() >= self._ttl:
            return
        run = self._track(state)
        run.durable_version = state.version if state.is_over else durable_version
        run.written_version = known.written_version if known is not None else 0
        if state.is_over:
            self._end(run, state, state.updated_at)
        self._mark_due(run, self.position)

    def due(self, most: int, now: datetime, moment: float) -> list[RecordWrite]:
        """Return the next writes, one per run at most, the longest waiting first."""
        writes: list[RecordWrite] = []
        for execution_id in list(self._due)[:most]:
            run = self._runs[execution_id]
            if (ttl := self._ttl_of(run, now)) <= 0:
                self._forget(run)
                continue
            run.written_at = moment
            writes.append(
                RecordWrite(
                    execution_id=run.id,
                    job_id=run.job_id,
                    record=self._record_of(run, now),
                    ttl=ttl,
                    version=run.version,
                    revision=run.revision,
                    is_over=run.ended_at is not None,
                    is_new=run.written_version < run.version,
                )
            )
        return writes

    def mark_written(self, writes: Iterable[RecordWrite]) -> None:
        """Record that these are in Redis; runs that have changed since then stay due."""
        for write in writes:
            run = self._runs.get(write.execution_id)
            if run is None:
                continue
            run.written_version = max(run.written_version, write.version)
            self.refused.pop(run.id, None)
            if run.revision == write.revision:
                self._due.pop(run.id, None)
            else:
                self._due.move_to_end(run.id)

    def mark_refused(self, write: RecordWrite, problem: str) -> None:
        """Skip a run that cannot be written until it changes or its renewal is due."""
        run = self._runs.get(write.execution_id)
        if run is None:
            return
        self.refused[run.id] = problem
        if run.revision == write.revision:
            self._due.pop(run.id, None)

    def renew(self, now: datetime, moment: float) -> None:
        """Make due what was not written for a third of `live_ttl`; forget what ended longer than `ttl` ago."""
        for run in list(self._ended.values()):
            if self._ttl_of(run, now) <= 0:
                self._forget(run)
        for run in self._runs.values():
            is_wanted = run.state is not None or run.written_version < run.version
            if is_wanted and moment - run.written_at >= self._live_ttl / 3:
                self._mark_due(run, self.position)

    def mark_all_due(self) -> None:
        """Make every run due, running ones first: the server may have lost any of them."""
        for run in sorted(self._runs.values(), key=lambda run: run.ended_at is not None):
            self._mark_due(run, self.position)

    def refresh(self, job_id: str) -> None:
        """Make the running runs of a job due: their remaining time can be estimated now."""
        for run in self._runs.values():
            if run.job_id == job_id and run.state is not None:
                self._mark_due(run, self.position)

    def _fold(self, event: ExecutionEvent) -> bool:
        run = self._runs.get(event.stream)
        if run is not None and run.state is None:
            return True  # the run is over, and a late result changes nothing
        try:
            if run is None:
                run = self._track(execution.begin(event))
            elif run.state is not None and event.version > run.version:
                run.state.apply(event)
                run.version = run.state.version
        except TransitionError:  # it started before this kernel, or some of its events were not delivered
            return False
        run.durable_version = max(run.durable_version, event.version)
        if run.state is not None and run.state.is_over:
            self._past_durations.add(run.state)
            self._end(run, run.state, event.at)
        if run.written_version < run.version:
            self._mark_due(run, event.position)
        return True

    def _track(self, state: Execution) -> TrackedRun:
        if not state.is_over and state.job_id not in self._past_durations:
            self.unknown_jobs.add(state.job_id)
        run = self._runs[state.id] = TrackedRun(_without_arguments(state))
        return run

    def _mark_due(self, run: TrackedRun, position: int) -> None:
        if run.durable_version >= run.version:
            run.revision += 1
            self._due.setdefault(run.id, position)

    def _end(self, run: TrackedRun, state: Execution, at: datetime) -> None:
        run.ended_at = at
        run.record = self.encode(record_of(state, self._past_durations.timing(state, at), at, at))
        run.state = None
        self._ended[run.id] = run
        while len(self._ended) > self._most_ended:
            oldest = next(iter(self._ended.values()))
            self.dropped += oldest.written_version < oldest.version
            self._forget(oldest)

    def _record_of(self, run: TrackedRun, now: datetime) -> bytes:
        if run.state is None:
            return run.record
        return self.encode(record_of(run.state, self._past_durations.timing(run.state, now), now, None))

    def _ttl_of(self, run: TrackedRun, now: datetime) -> float:
        if run.ended_at is None:
            return self._live_ttl
        return min(self._ttl, self._ttl - (now - run.ended_at).total_seconds())

    def _forget(self, run: TrackedRun) -> None:
        self._runs.pop(run.id, None)
        self._ended.pop(run.id, None)
        self._due.pop(run.id, None)
        self.refused.pop(run.id, None)


def _without_arguments(state: Execution) -> Execution:
    """Copy a view, which may be shared, without the arguments, which are not shown and may be large."""
    return msgspec.structs.replace(state, args=[], kwargs={})
