"""Decides which runs start now and which wait: overlap within a job, slots, groups and a fair queue over all jobs.

A job with a run that waits, and a free slot of its own, has one turn in the line of its group (or of the jobs without
one). The next turn is that of the highest priority among the lines whose groups have room; among equals, the job whose
turn came first. A job goes to the end with its next run, so jobs of one priority take turns. A group without room keeps
its line, and holds nobody else up.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Literal

import msgspec

from gnomon.domain.kernel_health import GroupHealth
from gnomon.domain.records import StoreHealth
from gnomon.engine.lane_queue import LaneQueue
from gnomon.errors import queue_is_full
from gnomon.jobs.groups import Groups
from gnomon.jobs.job import Job

QUEUE_LIMIT = 1_000
"""How many runs of a job may wait by default. A job with more cannot keep up, and memory would only grow."""


class Ticket(msgspec.Struct, eq=False, gc=False):
    """A run that asks for a slot. `due` is when it could have started.

    `must_run`: a manual run or a retry, which was accepted before, so that no limit of the queue concerns it.
    """

    execution_id: str
    job: Job
    due: datetime
    must_run: bool = False


class Verdict(msgspec.Struct):
    """The decision about a run, and its effect on others.

    `reason`, `detail` and `blocked_by` (the id of the run that was in the way) are for a miss. `replaced` runs no
    longer wait, and the runs in `to_cancel` are to be cancelled.
    """

    answer: Literal["start", "wait", "miss"]
    reason: Literal["overlap", "capacity"] = "overlap"
    detail: str = ""
    blocked_by: str | None = None
    replaced: list[Ticket] = []
    to_cancel: list[str] = []


_START = Verdict("start")


class Lane(msgspec.Struct, eq=False, gc=False):
    """The runs of one job: those that hold a slot, and those that wait for one.

    A run lingers when it has ended, such as by its timeout, and its body still runs. It keeps its slot of the job, or
    two bodies of a job that allows one would run at once, and the slot of its group. Its slot of the kernel is free.
    """

    running: dict[str, Ticket] = {}
    lingering: dict[str, Ticket] = {}
    waiting: Sequence[Ticket] = ()  # a deque if there are any: an empty one takes 600 bytes
    has_turn: bool = False

    @property
    def taken(self) -> int:
        """The number of slots of the job that are taken."""
        return len(self.running) + len(self.lingering)


class Admission:
    """Counts the slots in use and queues the runs that wait. It knows nothing of events, and of time only for rates.

    No run starts while the store accepts no runs: it has room only for the ends of those that are running.
    """

    def __init__(
        self,
        max_running: int,
        store_health: Callable[[], StoreHealth] = StoreHealth,
        groups: Groups = MappingProxyType({}),
        monotonic: Callable[[], float] = time.monotonic,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        self.max_running = max_running
        self.queue_limit = queue_limit
        self._store_health = store_health
        self._monotonic = monotonic
        self.running = 0
        self.is_open = True
        self.worker_queue_of: Callable[[str], str | None] = lambda _: None
        """The queue in which a run that has a slot waits for a worker elsewhere; None where its body has begun."""
        self._lanes: dict[str, Lane] = {}
        self._turns = itertools.count()
        self._ungrouped = LaneQueue()
        self._groups = {name: LaneQueue(name, group) for name, group in groups.items()}
        self._lines: dict[str, LaneQueue] = {}
        """The groups with jobs in line."""

    def admit(self, ticket: Ticket, *, is_backlog: bool = False) -> Verdict:
        """Decide about a run: "start" gives it a slot until `release`, "wait" queues it until `withdraw`."""
        job = ticket.job
        if (lane := self._lanes.get(job.id)) is None:
            lane = self._lanes[job.id] = Lane()
        if not lane.waiting and len(lane.running) + len(lane.lingering) < job.instances:
            if self._is_free_for(job) and self._has_slot():
                self._occupy(lane, ticket)
                return _START
            return self._wait(lane, ticket)
        has_room = lane.taken + len(lane.waiting) < job.instances  # it is the kernel that is full, not the job
        if ticket.must_run or is_backlog or job.overlap == "queue" or (has_room and job.overlap == "allow"):
            return self._wait(lane, ticket)
        if job.overlap == "cancel_previous":
            verdict = self._wait(lane, ticket)
            verdict.to_cancel = list(lane.running)
            return verdict
        other, state = self._in_the_way(lane)
        detail = f"run {other} {state}, and overlap is {job.overlap!r}"
        if lane.taken == 0 and (problem := self.closed_by) is not None:
            detail += f"; {problem}"
        return Verdict("miss", detail=detail, blocked_by=other)

    def occupy(self, ticket: Ticket) -> None:
        """Assign a slot to a run that an earlier kernel has started, whatever the limits are."""
        lane = self._lanes.setdefault(ticket.job.id, Lane())
        self._occupy(lane, ticket)

    def next_to_start(self) -> Ticket | None:
        """Assign a slot to the next waiting run, jobs in turn; None where no run may start."""
        while (line := self._next_line()) is not None and self._has_slot():
            job_id = line.pop()
            if not line.turns and line.name is not None:
                del self._lines[line.name]
            lane = self._lanes[job_id]
            lane.has_turn = False
            if not lane.waiting or lane.taken >= lane.waiting[0].job.instances:
                self._tidy(job_id, lane)
                continue
            if lane.waiting[0].job.group != line.name:  # it was accepted while the job changed
                self._give_turn(job_id, lane)
                continue
            ticket = _take_first(lane)
            self._occupy(lane, ticket)
            self._give_turn(job_id, lane)
            return ticket
        return None

    def release(self, execution_id: str, job_id: str, *, body_runs: bool = False, has_started: bool = True) -> bool:
        """Release the slot of a run and return whether a run waits for one. A second call for it changes nothing.

        With `body_runs`, the run has ended and its body has not: only its slot of the kernel becomes free. Without
        `has_started` it does not count for the rate of its group.
        """
        if (lane := self._lanes.get(job_id)) is not None:
            if (ticket := lane.running.pop(execution_id, None)) is not None:
                self.running -= 1
            if not body_runs:
                left = lane.lingering.pop(execution_id, None) or ticket
                if left is not None and left.job.group is not None:
                    self._group(left.job.group).leave(execution_id, has_started=has_started)
            elif ticket is not None:
                lane.lingering[execution_id] = ticket
            self._tidy(job_id, lane)
        return bool(self._ungrouped.turns or self._lines)

    def withdraw(self, execution_id: str, job_id: str) -> bool:
        """Remove a waiting run from the queue; False where it does not wait."""
        lane = self._lanes.get(job_id)
        ticket = next((t for t in lane.waiting if t.execution_id == execution_id), None) if lane is not None else None
        if lane is None or ticket is None:
            return False
        if ticket is lane.waiting[0]:  # as when all of them are withdrawn
            _take_first(lane)
        else:
            _keep(lane, lambda waiting: waiting is not ticket)
        self._tidy(job_id, lane)
        return True

    def redefine(self, job: Job) -> None:
        """Apply the new definition of a job to its runs that wait: its limits, group, priority and grace.

        They keep their place. Runs with a slot keep what they began with.
        """
        if (lane := self._lanes.get(job.id)) is None or not lane.waiting:
            return
        for ticket in lane.waiting:
            ticket.job = job
        turn = None
        if lane.has_turn:
            turn = next(turn for line in self._all_lines() if (turn := line.drop(job.id)) is not None)
            lane.has_turn = False
            for name in [name for name, line in self._lines.items() if not line.turns]:
                del self._lines[name]
        self._give_turn(job.id, lane, turn[1] if turn is not None else None)

    def running_of(self, job_id: str) -> list[str]:
        """Return the ids of the runs of a job that hold a slot."""
        lane = self._lanes.get(job_id)
        return list(lane.running) if lane is not None else []

    def lingering_of(self, job_id: str) -> list[str]:
        """Return the ids of the runs of a job that have ended and whose bodies still run."""
        lane = self._lanes.get(job_id)
        return list(lane.lingering) if lane is not None else []

    @property
    def lingering(self) -> dict[str, str]:
        """The runs that have ended and whose bodies still run, each with its job."""
        return {run: job_id for job_id, lane in self._lanes.items() for run in lane.lingering}

    def waiting_of(self, job_id: str) -> list[Ticket]:
        """Return the tickets of the runs of a job that wait."""
        lane = self._lanes.get(job_id)
        return list(lane.waiting) if lane is not None else []

    @property
    def waiting(self) -> int:
        """The number of runs that wait."""
        return sum(len(lane.waiting) for lane in self._lanes.values())

    def places(self, job: Job) -> float:
        """Return how many more runs of a job would be accepted now: those that start at once, and those that may wait.

        Not positive where its queue is full.
        """
        lane = self._lanes.get(job.id)
        taken, waiting = (lane.taken, len(lane.waiting)) if lane is not None else (0, 0)
        starting = 0.0
        if not waiting and taken < job.instances and self._is_free_for(job) and self._has_slot():
            one_by_one = job.group is not None  # its group may have room for one
            starting = 1.0 if one_by_one else min(job.instances - taken, self.max_running - self.running)
        return starting + self._queue_limit_of(job) - waiting

    def queue_of(self, job: Job) -> tuple[int, int]:
        """Return the number of runs of a job that wait, and how many may."""
        lane = self._lanes.get(job.id)
        return len(lane.waiting) if lane is not None else 0, self._queue_limit_of(job)

    def _queue_limit_of(self, job: Job) -> int:
        return job.queue_limit if job.queue_limit is not None else self.queue_limit

    # --- groups ---

    def opens_in(self) -> float | None:
        """Return the seconds until a rate lets a waiting run start; None where no run waits for a rate."""
        if not self._lines:
            return None
        now = self._monotonic()
        return min((s for line in self._lines.values() if (s := line.opens_in(now)) is not None), default=None)

    def note_starts(self, group: str, ages: list[float]) -> None:
        """Count starts of a group under an earlier kernel, by the seconds that have passed since each."""
        self._group(group).note_starts(ages, self._monotonic())

    def groups(self) -> list[GroupHealth]:
        """Return the state of each group. May be called in any thread."""
        now = self._monotonic()
        return [found for line in tuple(self._groups.values()) if (found := line.health(now)) is not None]

    def _group(self, name: str) -> LaneQueue:
        """Return the line of a group; one that is no longer defined has no limit."""
        if (line := self._groups.get(name)) is None:
            line = self._groups[name] = LaneQueue(name)
        return line

    def _next_line(self) -> LaneQueue | None:
        """Return the line with the next turn, of those whose group has room."""
        if not self._lines:
            return self._ungrouped if self._ungrouped.turns else None
        return min(self._open_lines(), key=lambda line: line.turns[0], default=None)

    def _all_lines(self) -> Iterator[LaneQueue]:
        yield self._ungrouped
        yield from self._lines.values()

    def _open_lines(self) -> Iterator[LaneQueue]:
        now = self._monotonic()
        if self._ungrouped.turns:
            yield self._ungrouped
        yield from (line for line in self._lines.values() if line.has_room(now))

    def _is_free_for(self, job: Job) -> bool:
        """Return whether nothing is in line before a run of the job, and its group has room."""
        if job.group is None and not self._lines:
            return not self._ungrouped.turns
        if self._next_line() is not None:
            return False
        return job.group is None or self._group(job.group).has_room(self._monotonic())

    # --- slots ---

    @property
    def closed_by(self) -> str | None:
        """Why the store accepts no runs; None where it does."""
        health = self._store_health()
        return None if health.accepts_runs else health.problem

    def _has_slot(self) -> bool:
        return self.running < self.max_running and self.is_open and self._store_health().accepts_runs

    def _occupy(self, lane: Lane, ticket: Ticket) -> None:
        lane.running[ticket.execution_id] = ticket
        self.running += 1
        if (group := ticket.job.group) is not None:
            self._group(group).enter(ticket.execution_id, ticket.job.id, self._monotonic())

    def _wait(self, lane: Lane, ticket: Ticket) -> Verdict:
        replaced: list[Ticket] = []
        if not ticket.must_run and ticket.job.catch_up != "all":
            # Late runs of a job do not pile up: the newest fire replaces those that wait before it.
            replaced = [waiting for waiting in lane.waiting if not waiting.must_run]
            if replaced:
                _keep(lane, lambda waiting: waiting.must_run)
        limit = self._queue_limit_of(ticket.job)
        if not ticket.must_run and len(lane.waiting) >= limit:
            return Verdict("miss", "capacity", queue_is_full(len(lane.waiting), limit))
        if not isinstance(lane.waiting, deque):
            lane.waiting = deque()
        lane.waiting.append(ticket)
        self._give_turn(ticket.job.id, lane)
        return Verdict("wait", replaced=replaced)

    def _give_turn(self, job_id: str, lane: Lane, number: int | None = None) -> None:
        if lane.has_turn or not lane.waiting or lane.taken >= (job := lane.waiting[0].job).instances:
            return
        lane.has_turn = True
        line = self._ungrouped if job.group is None else self._group(job.group)
        line.push((-job.priority, next(self._turns) if number is None else number, job_id))
        if job.group is not None:
            self._lines[job.group] = line

    def _tidy(self, job_id: str, lane: Lane) -> None:
        if lane.running or lane.lingering or lane.waiting:
            self._give_turn(job_id, lane)
        elif not lane.has_turn:
            del self._lanes[job_id]

    def _in_the_way(self, lane: Lane) -> tuple[str, str]:
        """Return the run that keeps another one of its job from starting, and its state in words."""
        if lane.running:
            execution_id = next(iter(lane.running))
            queue = self.worker_queue_of(execution_id)
            return execution_id, f"was still waiting in queue {queue!r}" if queue is not None else "was still running"
        if lane.lingering:
            return next(iter(lane.lingering)), "had ended, but its body was still running"
        return lane.waiting[0].execution_id, "was still waiting for a slot"


def _take_first(lane: Lane) -> Ticket:
    assert isinstance(lane.waiting, deque)  # noqa: S101 - callers check
    ticket: Ticket = lane.waiting.popleft()
    if not lane.waiting:
        lane.waiting = ()
    return ticket


def _keep(lane: Lane, is_kept: Callable[[Ticket], bool]) -> None:
    lane.waiting = deque(filter(is_kept, lane.waiting)) or ()
