"""Knows when each job is due: a heap of times over triggers, and one loop that waits on the injected clock."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from gnomon.domain.job_state import JobState
from gnomon.engine.asked_trigger import AskedTrigger
from gnomon.engine.vital_signs import Heartbeat, RecentValues
from gnomon.jobs.job import Job
from gnomon.logs import get_logger
from gnomon.ports import Clock
from gnomon.safe_text import safe_str, safe_traceback, type_name
from gnomon.scheduling.catch_up import Absence, Backlog, MissedRange, fires, next_fire
from gnomon.scheduling.triggers import AnchoredTrigger, counts_elapsed_time
from gnomon.text import length

log = get_logger("gnomon.engine.timetable")

CHUNK_JOBS = 128
"""Jobs taken off the heap at a time. Of 50,000 jobs due at once the first ones start while the others still wait, and
the loop is free again after a few milliseconds (APScheduler submits all of them first: measured, none ran)."""
FIRST_CHUNK_JOBS = 16
"""The first chunk of a burst is small, so that its first body waits for a small commit; the following ones double."""
STALLED_AFTER_S = 60.0
"""A step that takes longer counts as a standstill: hooks have 10 s, and the clock answers once a second."""
JUMP = timedelta(seconds=5)
"""A larger difference between the wall clock and the monotonic clock means that the wall clock was set."""
JUMP_REPORTED_S = 600.0
"""How long health reports that the clock was set."""
PATIENCE_S = 1.0
"""How long an order waits for fires that come due after it: a job may fire faster than its fires are decided."""
SHOWN_FAILURES = 3
"""Jobs with failed triggers that health names."""
PROBLEM_LIMIT = 200
"""Characters of what each trigger raised."""
SLICE_FIRES = 256
"""Fires of one long backlog that are counted before other tasks may run."""


class DueFires(msgspec.Struct, frozen=True, gc=False):
    """A job that is due: the fires that run, oldest first, and those that do not."""

    job: Job
    run: Sequence[datetime]
    missed: Sequence[MissedRange] = ()
    is_backlog: bool = False


class Entry(msgspec.Struct, eq=False):
    """A job in the timetable, `since` a wall time. One that was removed or replaced has no trigger.

    `ahead` is how far the fires of an interval lie ahead of a wall clock that was set back: they come after the elapsed
    time, and keep their order.
    """

    job: Job
    trigger: AnchoredTrigger | None
    anchor: datetime
    last_fire: datetime | None
    newest: datetime | None
    since: float = 0.0
    next: datetime | None = None
    ahead: timedelta = timedelta()
    absence: Absence = Absence()
    is_catching_up: bool = False


class Dispatch(Protocol):
    """Decides about jobs that are due; called with one chunk after the other."""

    async def __call__(self, chunk: Sequence[DueFires], *, leads: bool) -> None:
        """Return when the next chunk may come. With `leads`, this is the first chunk of a burst."""


class Timetable:
    """Finds the fires that are due, and applies `catch_up`. Whether a fire may start is decided elsewhere."""

    def __init__(
        self,
        clock: Clock,
        dispatch: Dispatch,
        on_clock_change: Callable[[float, float], None] = lambda *_: None,
        asked: AskedTrigger | None = None,
    ) -> None:
        self._clock = clock
        self._asked = asked or AskedTrigger()
        self._dispatch = dispatch
        self._on_clock_change = on_clock_change
        self._heap: list[tuple[float, int, Entry]] = []
        self._entries: dict[str, Entry] = {}
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._round = asyncio.Event()
        self._running = self._working = False
        self._lateness = RecentValues()
        self._seen = self._read_clocks()
        self._jump: tuple[float, str] | None = None
        self._failed: dict[str, str] = {}
        self.heartbeat = Heartbeat("timetable", STALLED_AFTER_S)

    def schedule(self, job: Job, trigger: AnchoredTrigger, state: JobState, absence: Absence | None = None) -> None:
        """Add a job, or replace the one with its id. Fires after those that its state knows are due."""
        self.remove(job.id)
        entry = Entry(
            job,
            trigger,
            state.anchor,
            state.last_fire,
            state.newest_fire,
            absence=absence or Absence(),
            since=self._clock.time(),
            ahead=self._ahead(trigger, state),
        )
        self._entries[job.id] = entry
        self._enter(entry)

    def remove(self, job_id: str) -> None:
        """Remove a job, if it is in the timetable."""
        self._failed.pop(job_id, None)
        if (entry := self._entries.pop(job_id, None)) is not None:
            entry.trigger = entry.next = None  # its heap entry is dropped when it comes due

    def _ahead(self, trigger: AnchoredTrigger, state: JobState) -> timedelta:
        ahead = (state.last_fire or state.anchor) - self._clock.now()
        return ahead if ahead > JUMP and counts_elapsed_time(trigger) else timedelta()

    def next_fire(self, job_id: str) -> datetime | None:
        """Return when a job is due next; None for a job without further fires, or one that is not scheduled."""
        entry = self._entries.get(job_id)
        return entry.next - entry.ahead if entry is not None and entry.next is not None else None

    def is_over(self, job_id: str) -> bool:
        """Return whether a job is scheduled and its trigger has ended: no fire will come."""
        entry = self._entries.get(job_id)
        return entry is not None and entry.next is None and job_id not in self._failed

    @property
    def clock_problem(self) -> str | None:
        """A sentence for some minutes after the wall clock was set. In any thread."""
        jump = self._jump
        return jump[1] if jump is not None and self._clock.monotonic() - jump[0] < JUMP_REPORTED_S else None

    @property
    def trigger_problem(self) -> str | None:
        """A sentence while jobs are not scheduled because their triggers failed. In any thread."""
        failed = dict(self._failed)
        if not failed:
            return None
        shown = "; ".join(f"of job {job_id!r} ({problem})" for job_id, problem in list(failed.items())[:SHOWN_FAILURES])
        more = f"; and {len(failed) - SHOWN_FAILURES} more" if len(failed) > SHOWN_FAILURES else ""
        return (
            f"triggers failed: {shown}{more}; such a job is not scheduled any more, but can be triggered: correct its "
            "trigger and reload, or pause and resume the job to try again"
        )

    @property
    def lateness_s(self) -> float:
        """The largest delay of recent fires, or the lag of the oldest pending fire if it is larger.

        Fires that were due before their job was scheduled, as after a downtime or a pause, do not count. In any thread.
        """
        overdue = 0.0
        with contextlib.suppress(IndexError):  # read from another thread, while the last entry was taken
            due, _, entry = self._heap[0]
            overdue = self._clock.time() - due if self._running and due >= entry.since else 0.0
        return max(self._lateness.maximum, overdue)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is due right now, or the timetable does not run."""
        return self._is_idle()

    def _is_idle(self, limit: float = float("inf")) -> bool:
        return not self._running or not (self._working or self._is_due(limit))

    def _is_due(self, limit: float = float("inf")) -> bool:
        return bool(self._heap) and self._heap[0][0] <= min(self._clock.time(), limit)

    async def idle(self) -> None:
        """Wait until everything that is due has been dispatched; of what comes due meanwhile that of one second.

        Wait for this before changing a job: a fire whose guards are being called would otherwise be counted again.
        """
        limit = self._clock.time() + PATIENCE_S
        while not self._is_idle(limit):
            self._round.clear()
            await self._round.wait()

    async def run(self) -> None:
        """Dispatch due jobs until cancelled."""
        self._running = True
        try:
            most = FIRST_CHUNK_JOBS
            while True:
                self._check_clock()
                if due := self._pop_due(most):
                    await self._work(due, leads=most == FIRST_CHUNK_JOBS and self._is_due())
                    await asyncio.sleep(0)
                    most = min(most * 2, CHUNK_JOBS)
                else:
                    most = FIRST_CHUNK_JOBS
                    self._round.set()
                    self.heartbeat.begin("waits for the clock")
                    await self._clock.wait(self._wake, self._heap[0][0] if self._heap else None)
                    self._wake.clear()
        finally:
            self._running = False
            self.heartbeat.rest()
            self._round.set()

    def _check_clock(self) -> None:
        """Notice that the wall clock was set: intervals keep their pace if it was set back.

        Set forward, it makes fires late, as a suspended machine does: the two cannot be distinguished.
        """
        (wall, monotonic), self._seen = self._seen, self._read_clocks()
        passed, elapsed = self._seen[0] - wall, self._seen[1] - monotonic
        jump = timedelta(seconds=passed - elapsed)
        if abs(jump) <= JUMP:
            return
        direction = "forward" if jump > timedelta() else "back"
        text = f"the clock was set {direction} by {length(abs(jump))} at {self._clock.now():%Y-%m-%d %H:%M:%S} UTC"
        self._jump = (self._clock.monotonic(), text)
        log.warning("the clock was set", direction=direction, seconds=jump.total_seconds())
        self._on_clock_change(passed, elapsed)
        for entry in self._entries.values():
            if entry.ahead or (jump < timedelta() and entry.trigger and counts_elapsed_time(entry.trigger)):
                entry.ahead = max(entry.ahead - jump, timedelta())
        live = (entry for entry in self._entries.values() if entry.next is not None)
        self._heap = [(_due(entry), next(self._numbers), entry) for entry in live]
        heapq.heapify(self._heap)

    def _read_clocks(self) -> tuple[float, float]:
        """Return the wall and the monotonic time of one moment: the process may be stopped between two readings."""
        before = self._clock.monotonic()
        while True:
            wall, after = self._clock.time(), self._clock.monotonic()
            if after - before <= JUMP.total_seconds():
                return wall, after
            before = after

    async def _work(self, due: Sequence[Entry], *, leads: bool) -> None:
        self._working = True
        try:
            self.heartbeat.begin("decides about fires")
            now = self._clock.now()
            decided = [self._decide_one(entry, now) or await self._decide(entry) for entry in due]
            self.heartbeat.begin("dispatches fires")
            await self._dispatch([one for one in decided if one is not None], leads=leads)
        finally:
            self._working = False
            self._round.set()

    def _enter(self, entry: Entry) -> None:
        """Compute when an entry is due next and push it on the heap; a job whose trigger fails is removed."""
        if entry.trigger is None:
            return
        self._asked.job_id = entry.job.id
        try:
            entry.next = next_fire(entry.trigger, entry.last_fire, entry.anchor, entry.newest)
        except BaseException as exc:  # noqa: BLE001 - triggers are foreign code: one that fails must not stop the others
            self._fail(entry, exc)
            return
        finally:
            self._asked.job_id = None
        if entry.next is not None:  # else the trigger is at its end
            self._push(entry)

    def _push(self, entry: Entry) -> None:
        heapq.heappush(self._heap, (_due(entry), next(self._numbers), entry))
        if self._heap[0][2] is entry:
            self._wake.set()

    def _fail(self, entry: Entry, exc: BaseException) -> None:
        text = safe_str(entry.trigger)
        log.error(
            "trigger failed, its job is no longer scheduled",
            job=entry.job.id,
            trigger=text,
            exception=safe_traceback(exc),
        )
        self._entries.pop(entry.job.id, None)
        self._failed[entry.job.id] = f"{type_name(exc)}: {safe_str(exc, PROBLEM_LIMIT)}"
        entry.trigger = entry.next = None

    def _pop_due(self, most: int) -> list[Entry]:
        now = self._clock.time()
        due: list[Entry] = []
        oldest = now
        while self._heap and len(due) < most and self._heap[0][0] <= now:
            fire, _, entry = heapq.heappop(self._heap)
            if entry.trigger is not None:
                due.append(entry)
                if fire >= entry.since and fire < oldest:
                    oldest = fire
        if oldest < now:
            self._lateness.add(now - oldest)
        return due

    def _decide_one(self, entry: Entry, now: datetime) -> DueFires | None:
        """Return the one fire that is due and push the next one; None where none or several are due.

        The trigger is called once for each fire: a cron expression takes 20 to 50 µs to find the next one.
        """
        job, trigger, fire, now = entry.job, entry.trigger, entry.next, now + entry.ahead
        if trigger is None or fire is None or fire > now:
            return None
        fire = fire.astimezone(UTC)
        self._asked.job_id = job.id
        try:
            following = next_fire(trigger, fire, entry.anchor)
        except BaseException as exc:  # noqa: BLE001 - foreign code, as above
            self._asked.job_id = None
            self._fail(entry, exc)
        else:
            self._asked.job_id = None
            if following is not None and following <= now:
                return None
            entry.last_fire, entry.next = fire, following
            if following is not None:  # not by _push: the loop is running, so it need not be woken
                heapq.heappush(self._heap, (_due(entry), next(self._numbers), entry))
        is_backlog, entry.is_catching_up = entry.is_catching_up, False
        if job.grace is None and job.catch_up != "none":  # it may be late without limit
            return DueFires(job, (fire,), (), is_backlog)
        backlog = Backlog(job.catch_up, job.grace, entry.absence)
        backlog.add(fire)
        return DueFires(job, *backlog.decide(now), is_backlog)

    async def _decide(self, entry: Entry) -> DueFires | None:
        """Decide about all fires of a job up to now, and push its next one."""
        job, trigger = entry.job, entry.trigger
        if trigger is None:
            return None  # removed while another entry of its chunk was counted
        now = self._clock.now() + entry.ahead
        backlog = Backlog(job.catch_up, job.grace, entry.absence)
        count = 0
        self._asked.job_id = job.id
        try:
            for fire in fires(trigger, entry.last_fire, entry.anchor, now, entry.newest):
                entry.last_fire = fire.astimezone(UTC)
                backlog.add(entry.last_fire)
                count += 1
                if count % SLICE_FIRES == 0:
                    if job.catch_up == "all":
                        break  # all of them run, so the rest waits for room in the log
                    self._asked.job_id = None
                    await asyncio.sleep(0)
                    self._asked.job_id = job.id
        except BaseException as exc:  # foreign code, as above
            self._asked.job_id = None
            task = asyncio.current_task()
            if isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # the kernel stops
            self._fail(entry, exc)
        else:
            self._asked.job_id = None
            self._enter(entry)
        is_backlog = count > 1 or entry.is_catching_up
        entry.is_catching_up = entry.next is not None and entry.next <= now
        return DueFires(job, *backlog.decide(now), is_backlog) if count else None


def _due(entry: Entry) -> float:
    assert entry.next is not None  # noqa: S101 - callers check
    return (entry.next - entry.ahead if entry.ahead else entry.next).timestamp()
