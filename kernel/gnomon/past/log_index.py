"""An index of the log by time: which runs were open at any moment, and which jobs have changed after it.

The log is read once, block by block, and summed up in segments of some thousand events; a question reads one segment
again. The index is built when the past is first asked about, and then follows the log.

A moment stands for a position: that of the last event of the log whose time is not after it. Everything up to there
counts, so what is shown has really been, also where the clock was set back in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.past_moment import PastMoment
from gnomon.errors import PastError
from gnomon.ports import Store
from gnomon.stores.reading import read_log

SEGMENT = 4_000
"""Events that a question reads again, about 40 ms; a segment is longer where more runs are open."""
_FACTS = (
    events.KernelStarted,
    events.KernelLed,
    events.KernelStopped,
    events.KernelHeld,
    events.KernelReleased,
)
"""The facts that say which kernel led, and whether fires were held."""
_ENDS = (events.Succeeded, events.Failed, events.Cancelled, events.Missed)


class Segment(msgspec.Struct):
    """The events in after < position <= last; `open` are the runs that had not ended at its begin.

    `changed` are the jobs with events of their own, and whether the first of these is the first of the job. `lost`
    counts the events that the log no longer kept when it was read.
    """

    after: int
    last: int
    earliest: datetime
    open: frozenset[str]
    changed: dict[str, bool] = {}
    lost: int = 0


class Past(msgspec.Struct, frozen=True):
    """A moment, and what has to be folded again to get there: the runs that had not ended, and jobs.

    `changed` are jobs that were there and have changed after it, `later` those that were added after it. `facts` are
    those about kernels up to it.
    """

    moment: PastMoment
    facts: list[Event]
    open: frozenset[str]
    changed: frozenset[str]
    later: frozenset[str]


class LogIndex:
    """Reads a log as far as it goes, and finds moments in it. Used on one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._segments: list[Segment] = []
        self._open: set[str] = set()
        self._position = 0
        self._begins_at: datetime | None = None
        self._facts: list[Event] = []
        self._reading = asyncio.Lock()

    @property
    def position(self) -> int:
        """Up to where the log has been read."""
        return self._position

    async def begins_at(self) -> datetime | None:
        """Return the time of the first event that the log keeps, None for an empty one."""
        if self._begins_at is None and (first := await self._store.read(0, 1)):
            self._begins_at = first[0].at
        return self._begins_at

    async def find(self, at: datetime) -> Past:
        """Return a moment; PastError for one before the first event of the log."""
        await self._read_on()
        begins_at = await self.begins_at()
        segments = iter(reversed(self._segments))
        segment = next((one for one in segments if one.earliest <= at), None)
        if segment is None or begins_at is None:
            begins = "the log is empty" if begins_at is None else f"the log begins at {begins_at.isoformat()}"
            raise PastError(f"{begins}: it knows nothing about {at.isoformat()}")
        return await self._past(at, segment, begins_at)

    async def _past(self, at: datetime, segment: Segment, begins_at: datetime) -> Past:
        found = [event async for block in read_log(self._store, segment.after, segment.last) for event in block]
        place = max((n for n, event in enumerate(found) if event.at <= at), default=None)
        if place is None:  # its events have been deleted in the meantime
            raise PastError(f"the log no longer keeps the events around {at.isoformat()}")
        before, rest = found[: place + 1], found[place + 1 :]
        open_runs = set(segment.open)
        _follow(open_runs, before)
        changes = _changes(rest)
        lost = segment.last - segment.after - len(found)
        for later in self._segments[self._segments.index(segment) + 1 :]:
            changes = later.changed | changes  # what a job's first change says counts
            lost += later.lost
        following = rest[:1] or await self._store.read(segment.last, 1)
        return Past(
            PastMoment(
                at=at,
                position=before[-1].position,
                begins_at=begins_at,
                lost=lost,
                before=before[-1],
                after=following[0] if following else None,
            ),
            facts=[fact for fact in self._facts if fact.position <= before[-1].position],
            open=frozenset(open_runs),
            changed=frozenset(job_id for job_id, is_new in changes.items() if not is_new),
            later=frozenset(job_id for job_id, is_new in changes.items() if is_new),
        )

    async def _read_on(self) -> None:
        async with self._reading:
            async for block in read_log(self._store, self._position, await self._store.head()):
                self._add(block)

    def _add(self, block: Sequence[Event]) -> None:
        if not block:
            return
        segment = self._segments[-1] if self._segments else None
        if segment is None or segment.last - segment.after >= max(SEGMENT, len(segment.open)):
            segment = Segment(self._position, self._position, block[0].at, frozenset(self._open))
            self._segments.append(segment)
        segment.earliest = min(segment.earliest, *(event.at for event in block))
        segment.lost += block[-1].position - segment.last - len(block)
        segment.last = self._position = block[-1].position
        segment.changed = _changes(block) | segment.changed
        _follow(self._open, block)
        self._facts += [event for event in block if isinstance(event, _FACTS)]


def _follow(open_runs: set[str], block: Sequence[Event]) -> None:
    for event in block:
        if isinstance(event, events.Scheduled):
            open_runs.add(event.stream)
        elif isinstance(event, _ENDS):
            open_runs.discard(event.stream)


def _changes(block: Sequence[Event]) -> dict[str, bool]:
    return dict(reversed(list(_of_jobs(block))))


def _of_jobs(block: Sequence[Event]) -> Iterator[tuple[str, bool]]:
    for event in block:
        if isinstance(event, events.JobEvent):
            yield event.job_id, event.version == 1
