"""What Redis is to hold: the fold of every run that is not over, the last record of those that ended lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from gnomon import Event, Execution, TransitionError
from gnomon.domain import execution
from gnomon.domain.events import ExecutionEvent
from gnomon_redis.pasts import Pasts
from gnomon_redis.record import encode, record_of

ENDED = 10_000
"""Runs that ended lately and are kept, at about a kilobyte each, to be written again after an outage."""


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One record on its way; `ttl` is how long it lives from now, `is_news` whether followers are told of it.

    `turn` counts how often the run was made due: what was made due again since this was taken stays due.
    """

    execution_id: str
    job_id: str
    record: bytes
    ttl: float
    version: int
    turn: int
    is_over: bool
    is_news: bool


class Entry:
    """One run: what is known of it, and how much of that has been written."""

    def __init__(self, state: Execution) -> None:
        self.id, self.job_id = state.id, state.job_id
        self.state: Execution | None = state
        self.version = state.version
        self.durable = state.version
        self.ended_at: datetime | None = None
        self.record = b""
        self.told = 0
        self.turn = 0
        self.touched = float("-inf")


class Book:
    """The runs, and which of them have to be written. Of each run the latest wins; its end is never passed over.

    It talks to nobody and has no clock: `now` is wall time, for meaning; `moment` is monotonic, in seconds.
    `live_ttl` is how long a run that is not over is shown without being written again.
    """

    def __init__(self, ttl: timedelta, live_ttl: timedelta, pasts: Pasts, ended: int = ENDED) -> None:
        self.let_go = 0
        self.position = 0
        self.unknown: dict[str, int] = {}
        self.unknown_jobs: set[str] = set()
        self.refused: dict[str, str] = {}
        self._ttl = ttl.total_seconds()
        self._live_ttl = live_ttl.total_seconds()
        self._pasts = pasts
        self._most_ended = ended
        self._entries: dict[str, Entry] = {}
        self._ended: OrderedDict[str, Entry] = OrderedDict()
        self._due: OrderedDict[str, int] = OrderedDict()  # and the position from which on each has not been written

    @property
    def has_due(self) -> bool:
        """Whether anything waits to be written."""
        return bool(self._due)

    @property
    def safe_position(self) -> int:
        """The position up to which everything has been written."""
        return min(self._due.values(), default=self.position + 1) - 1

    def take(self, events: Iterable[Event]) -> None:
        """Fold events in; runs whose beginning was not seen get into `unknown`, and wait there to be adopted."""
        for event in events:
            self.position = max(self.position, event.position)
            if isinstance(event, ExecutionEvent) and not self._fold(event):
                self.miss(event)

    def miss(self, event: Event) -> None:
        """Note a run that is to be adopted, and the newest of its events that is known to be in the log."""
        self.unknown[event.stream] = max(self.unknown.get(event.stream, 0), event.version)

    def adopt(self, state: Execution, durable: int, now: datetime) -> None:
        """Take over a run as the kernel has it; `durable` is the newest version that is known to be in the log.

        The kernel's view may be ahead of that: it is written when its last event has come by.
        """
        self.unknown.pop(state.id, None)
        known = self._entries.get(state.id)
        if known is not None and known.version >= state.version:
            return
        if state.is_over and (now - state.updated_at).total_seconds() >= self._ttl:
            return
        entry = self._open(state)
        entry.durable = state.version if state.is_over else durable
        entry.told = known.told if known is not None else 0
        if state.is_over:
            self._close(entry, state, state.updated_at)
        self._need(entry, self.position)

    def due(self, most: int, now: datetime, moment: float) -> list[Write]:
        """Take the next writes, each run at most once, those first that have waited longest."""
        writes: list[Write] = []
        for execution_id in list(self._due)[:most]:
            entry = self._entries[execution_id]
            if (ttl := self._ttl_of(entry, now)) <= 0:
                self._forget(entry)
                continue
            entry.touched = moment
            writes.append(
                Write(
                    execution_id=entry.id,
                    job_id=entry.job_id,
                    record=self._record_of(entry, now),
                    ttl=ttl,
                    version=entry.version,
                    turn=entry.turn,
                    is_over=entry.ended_at is not None,
                    is_news=entry.told < entry.version,
                )
            )
        return writes

    def written(self, writes: Iterable[Write]) -> None:
        """Learn that these are in Redis; what changed meanwhile stays due."""
        for write in writes:
            entry = self._entries.get(write.execution_id)
            if entry is None:
                continue
            entry.told = max(entry.told, write.version)
            self.refused.pop(entry.id, None)
            if entry.turn == write.turn:
                self._due.pop(entry.id, None)
            else:
                self._due.move_to_end(entry.id)

    def set_aside(self, write: Write, problem: str) -> None:
        """Leave a run alone that cannot be written, until it changes or is to be renewed."""
        entry = self._entries.get(write.execution_id)
        if entry is None:
            return
        self.refused[entry.id] = problem
        if entry.turn == write.turn:
            self._due.pop(entry.id, None)

    def renew(self, now: datetime, moment: float) -> None:
        """Make due what has not been written for a third of its life or is set aside; forget what ended long ago."""
        for entry in list(self._ended.values()):
            if self._ttl_of(entry, now) <= 0:
                self._forget(entry)
        for entry in self._entries.values():
            is_wanted = entry.state is not None or entry.told < entry.version
            if is_wanted and moment - entry.touched >= self._live_ttl / 3:
                self._need(entry, self.position)

    def all_again(self) -> None:
        """Make everything due, what lives first: what the server still has nobody knows."""
        for entry in sorted(self._entries.values(), key=lambda entry: entry.ended_at is not None):
            self._need(entry, self.position)

    def refresh(self, job_id: str) -> None:
        """Make the runs of a job due that are going: how long they will take is known now."""
        for entry in self._entries.values():
            if entry.job_id == job_id and entry.state is not None:
                self._need(entry, self.position)

    def _fold(self, event: ExecutionEvent) -> bool:
        entry = self._entries.get(event.stream)
        if entry is not None and entry.state is None:
            return True  # it is over, and a late result changes nothing
        try:
            if entry is None:
                entry = self._open(execution.begin(event))
            elif entry.state is not None and event.version > entry.version:
                entry.state.apply(event)
                entry.version = entry.state.version
        except TransitionError:  # it began before this kernel, or some of it was not seen
            return False
        entry.durable = max(entry.durable, event.version)
        if entry.state is not None and entry.state.is_over:
            self._pasts.add(entry.state)
            self._close(entry, entry.state, event.at)
        if entry.told < entry.version:
            self._need(entry, event.position)
        return True

    def _open(self, state: Execution) -> Entry:
        if not state.is_over and state.job_id not in self._pasts:
            self.unknown_jobs.add(state.job_id)
        entry = self._entries[state.id] = Entry(_lean(state))
        return entry

    def _need(self, entry: Entry, position: int) -> None:
        if entry.durable >= entry.version:
            entry.turn += 1
            self._due.setdefault(entry.id, position)

    def _close(self, entry: Entry, state: Execution, at: datetime) -> None:
        entry.ended_at = at
        entry.record = encode(record_of(state, self._pasts.timing(state, at), at, at))
        entry.state = None
        self._ended[entry.id] = entry
        while len(self._ended) > self._most_ended:
            oldest = next(iter(self._ended.values()))
            self.let_go += oldest.told < oldest.version
            self._forget(oldest)

    def _record_of(self, entry: Entry, now: datetime) -> bytes:
        if entry.state is None:
            return entry.record
        return encode(record_of(entry.state, self._pasts.timing(entry.state, now), now, None))

    def _ttl_of(self, entry: Entry, now: datetime) -> float:
        if entry.ended_at is None:
            return self._live_ttl
        return min(self._ttl, self._ttl - (now - entry.ended_at).total_seconds())

    def _forget(self, entry: Entry) -> None:
        self._entries.pop(entry.id, None)
        self._ended.pop(entry.id, None)
        self._due.pop(entry.id, None)
        self.refused.pop(entry.id, None)


def _lean(state: Execution) -> Execution:
    """Copy a view, for it may be somebody else's, without what is not shown and may be large."""
    return msgspec.structs.replace(state, args=[], kwargs={})
