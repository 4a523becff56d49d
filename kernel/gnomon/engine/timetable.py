"""What is due when: a heap of times over triggers, and one loop that waits on the injected clock."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec
import structlog

from gnomon.domain.job_state import JobState
from gnomon.jobs.job import Job
from gnomon.ports import Clock
from gnomon.scheduling.catch_up import Absence, Backlog, MissedRange, fires, next_fire
from gnomon.scheduling.triggers import Trigger

log = structlog.stdlib.get_logger("gnomon.engine.timetable")

CHUNK = 128
"""Jobs taken off the heap in one go. Of 50,000 jobs due at once the first ones start while the others still wait their
turn, and the loop is free again after a few milliseconds (APScheduler submits all first: measured, none ran)."""
FIRST_CHUNK = 16
"""The first chunk of a burst is small, so that its first body waits for a small commit only; then they double."""
SLICE = 256
"""Fires of one long backlog that are counted before the loop gets a turn."""


class DueFires(msgspec.Struct, frozen=True):
    """A job whose time has come, the fires that run, oldest first, and those that do not."""

    job: Job
    run: Sequence[datetime]
    missed: Sequence[MissedRange] = ()
    is_backlog: bool = False


class Entry(msgspec.Struct, eq=False):
    """A job's place in the timetable. One that was taken out or replaced has no trigger any more."""

    job: Job
    trigger: Trigger | None
    anchor: datetime
    last_fire: datetime | None
    newest: datetime | None
    next: datetime | None = None
    absence: Absence = Absence()
    is_catching_up: bool = False


class Dispatch(Protocol):
    """Whoever decides about jobs whose time has come; it is given one chunk after the other."""

    async def __call__(self, chunk: Sequence[DueFires], *, leads: bool) -> None:
        """Return when the next chunk may come; with `leads`, this one is the first of many that are due at once."""


class Timetable:
    """Owns the order of things to come. It decides about time only; whether a fire may start is not its business."""

    def __init__(self, clock: Clock, dispatch: Dispatch) -> None:
        self._clock = clock
        self._dispatch = dispatch
        self._heap: list[tuple[float, int, Entry]] = []
        self._entries: dict[str, Entry] = {}
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._round = asyncio.Event()
        self._running = self._working = False

    def put(self, job: Job, trigger: Trigger, state: JobState, absence: Absence | None = None) -> None:
        """Put a job in, or in place of what was there; fires that its state does not know yet are due."""
        self.take(job.id)
        entry = Entry(job, trigger, state.anchor, state.last_fire, state.newest_fire, absence=absence or Absence())
        self._entries[job.id] = entry
        self._enter(entry)

    def take(self, job_id: str) -> None:
        """Take a job out; one that is not in is fine."""
        if (entry := self._entries.pop(job_id, None)) is not None:
            entry.trigger = entry.next = None  # its place on the heap is dropped when its time comes

    def next_fire(self, job_id: str) -> datetime | None:
        """Tell when a job is due next; None when it is not in, or at its end."""
        entry = self._entries.get(job_id)
        return entry.next if entry is not None else None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is due right now, or nobody looks."""
        return not self._running or not (self._working or self._is_due)

    @property
    def _is_due(self) -> bool:
        return bool(self._heap) and self._heap[0][0] <= self._clock.time()

    async def idle(self) -> None:
        """Wait until what is due right now has its outcome.

        Whoever changes a job waits for this before: else a fire whose guards are being asked would be counted again.
        """
        while not self.is_idle:
            self._round.clear()
            await self._round.wait()

    async def run(self) -> None:
        """Dispatch what is due until cancelled."""
        self._running = True
        try:
            most = FIRST_CHUNK
            while True:
                if due := self._pop_due(most):
                    await self._work(due, leads=most == FIRST_CHUNK and self._is_due)
                    await asyncio.sleep(0)
                    most = min(most * 2, CHUNK)
                else:
                    most = FIRST_CHUNK
                    self._round.set()
                    await self._clock.wait(self._wake, self._heap[0][0] if self._heap else None)
                    self._wake.clear()
        finally:
            self._running = False
            self._round.set()

    async def _work(self, due: Sequence[Entry], *, leads: bool) -> None:
        self._working = True
        try:
            now = self._clock.now()
            decided = [self._decide_one(entry, now) or await self._decide(entry) for entry in due]
            await self._dispatch([one for one in decided if one is not None], leads=leads)
        finally:
            self._working = False
            self._round.set()

    def _enter(self, entry: Entry) -> None:
        """Compute when an entry is due next and put it on the heap; a trigger that fails takes its job out."""
        if entry.trigger is None:
            return
        try:
            entry.next = next_fire(entry.trigger, entry.last_fire, entry.anchor, entry.newest)
        except Exception as exc:  # noqa: BLE001 - triggers are foreign code: one that fails must not stop the others
            self._fail(entry, exc)
            return
        if entry.next is not None:  # else the trigger is at its end
            self._push(entry, entry.next)

    def _push(self, entry: Entry, due: datetime) -> None:
        heapq.heappush(self._heap, (due.timestamp(), next(self._numbers), entry))
        if self._heap[0][2] is entry:
            self._wake.set()

    def _fail(self, entry: Entry, exc: Exception) -> None:
        log.error(
            "trigger failed, its job is not due any more", job=entry.job.id, trigger=str(entry.trigger), exc_info=exc
        )
        self._entries.pop(entry.job.id, None)
        entry.trigger = entry.next = None

    def _pop_due(self, most: int) -> list[Entry]:
        now = self._clock.time()
        due: list[Entry] = []
        while self._heap and len(due) < most and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)[2]
            if entry.trigger is not None:
                due.append(entry)
        return due

    def _decide_one(self, entry: Entry, now: datetime) -> DueFires | None:
        """Take the one fire that is due, and enter the next one; None where none or several are due.

        The trigger is asked once for each fire: a cron expression takes 20 to 50 µs to find the next one.
        """
        job, trigger, fire = entry.job, entry.trigger, entry.next
        if trigger is None or fire is None or fire > now:
            return None
        fire = fire.astimezone(UTC)
        try:
            following = next_fire(trigger, fire, entry.anchor)
        except Exception as exc:  # noqa: BLE001 - foreign code, as above
            self._fail(entry, exc)
        else:
            if following is not None:
                if following <= now:
                    return None
                # By its own way, for nobody needs to be woken: the loop is right here.
                heapq.heappush(self._heap, (following.timestamp(), next(self._numbers), entry))
            entry.last_fire, entry.next = fire, following
        is_backlog, entry.is_catching_up = entry.is_catching_up, False
        if job.grace is None and job.catch_up != "none":  # it may be as late as it likes
            return DueFires(job, (fire,), (), is_backlog)
        backlog = Backlog(job.catch_up, job.grace, entry.absence)
        backlog.add(fire)
        return DueFires(job, *backlog.decide(now), is_backlog)

    async def _decide(self, entry: Entry) -> DueFires | None:
        """Take all fires of a job up to now and decide about them; then enter its next one."""
        job, trigger = entry.job, entry.trigger
        if trigger is None:
            return None  # taken out while another entry of its chunk was counted
        now = self._clock.now()
        backlog = Backlog(job.catch_up, job.grace, entry.absence)
        count = 0
        try:
            for fire in fires(trigger, entry.last_fire, entry.anchor, now, entry.newest):
                entry.last_fire = fire.astimezone(UTC)
                backlog.add(entry.last_fire)
                count += 1
                if count % SLICE == 0:
                    if job.catch_up == "all":
                        break  # the rest in the next round: they all run, so they all need room
                    await asyncio.sleep(0)
        except Exception as exc:  # noqa: BLE001 - foreign code, as above
            self._fail(entry, exc)
        else:
            self._enter(entry)
        is_backlog = count > 1 or entry.is_catching_up
        entry.is_catching_up = entry.next is not None and entry.next <= now
        return DueFires(job, *backlog.decide(now), is_backlog) if count else None
