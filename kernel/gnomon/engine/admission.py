"""Decides which runs start now and which wait: overlap within a job, slots and a fair queue over all jobs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec

from gnomon.domain.records import StoreHealth
from gnomon.jobs.job import Job

QUEUE_LIMIT = 1_000
"""How many runs of one job may wait. A job with more cannot keep up, and memory would only grow."""


class Ticket(msgspec.Struct, eq=False, gc=False):
    """A run that asks for a slot. `due` is when it could have started; `must_run`: a manual run or a retry."""

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
    two bodies of a job that allows one would run at once. Its slot of the kernel is free.
    """

    running: dict[str, Ticket] = {}
    lingering: dict[str, Ticket] = {}
    waiting: tuple[Ticket, ...] = ()
    in_rotation: bool = False

    @property
    def taken(self) -> int:
        """The number of slots of the job that are taken."""
        return len(self.running) + len(self.lingering)


class Admission:
    """Counts the slots in use and queues the runs that wait. It knows nothing of time and events.

    No run starts while the store accepts no runs: it has room only for the ends of those that are running.
    """

    def __init__(self, max_running: int, store_health: Callable[[], StoreHealth] = StoreHealth) -> None:
        self.max_running = max_running
        self._store_health = store_health
        self.running = 0
        self.is_open = True
        self._lanes: dict[str, Lane] = {}
        self._rotation: deque[str] = deque()

    def admit(self, ticket: Ticket, *, is_backlog: bool = False) -> Verdict:
        """Decide about a run: "start" gives it a slot until `release`, "wait" queues it until `withdraw`."""
        job = ticket.job
        if (lane := self._lanes.get(job.id)) is None:
            lane = self._lanes[job.id] = Lane()
        if not lane.waiting and lane.taken < job.instances:
            if not self._rotation and self._has_slot():
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
        other, state = _in_the_way(lane)
        return Verdict("miss", detail=f"run {other} {state}, and overlap is {job.overlap!r}", blocked_by=other)

    def next_to_start(self) -> Ticket | None:
        """Assign a slot to the next waiting run, jobs in turn; None where no run may start."""
        while self._rotation and self._has_slot():
            job_id = self._rotation.popleft()
            lane = self._lanes[job_id]
            lane.in_rotation = False
            if not lane.waiting or lane.taken >= lane.waiting[0].job.instances:
                self._tidy(job_id, lane)
                continue
            ticket, *rest = lane.waiting
            lane.waiting = tuple(rest)
            self._occupy(lane, ticket)
            self._rotate(job_id, lane)
            return ticket
        return None

    def release(self, execution_id: str, job_id: str, *, body_runs: bool = False) -> bool:
        """Release the slot of a run and return whether a run waits for one. A second call for it changes nothing.

        With `body_runs`, the run has ended and its body has not: only its slot of the kernel becomes free.
        """
        if (lane := self._lanes.get(job_id)) is not None:
            if (ticket := lane.running.pop(execution_id, None)) is not None:
                self.running -= 1
            if not body_runs:
                lane.lingering.pop(execution_id, None)
            elif ticket is not None:
                lane.lingering[execution_id] = ticket
            self._tidy(job_id, lane)
        return bool(self._rotation)

    def withdraw(self, execution_id: str, job_id: str) -> bool:
        """Remove a waiting run from the queue; False where it does not wait."""
        lane = self._lanes.get(job_id)
        ticket = next((t for t in lane.waiting if t.execution_id == execution_id), None) if lane is not None else None
        if lane is None or ticket is None:
            return False
        lane.waiting = tuple(waiting for waiting in lane.waiting if waiting is not ticket)
        self._tidy(job_id, lane)
        return True

    def running_of(self, job_id: str) -> list[str]:
        """Return the ids of the runs of a job that hold a slot."""
        lane = self._lanes.get(job_id)
        return list(lane.running) if lane is not None else []

    def lingering_of(self, job_id: str) -> list[str]:
        """Return the ids of the runs of a job that have ended and whose bodies still run."""
        lane = self._lanes.get(job_id)
        return list(lane.lingering) if lane is not None else []

    def waiting_of(self, job_id: str) -> list[Ticket]:
        """Return the tickets of the runs of a job that wait."""
        lane = self._lanes.get(job_id)
        return list(lane.waiting) if lane is not None else []

    @property
    def waiting(self) -> int:
        """The number of runs that wait."""
        return sum(len(lane.waiting) for lane in self._lanes.values())

    def _has_slot(self) -> bool:
        return self.running < self.max_running and self.is_open and self._store_health().accepts_runs

    def _occupy(self, lane: Lane, ticket: Ticket) -> None:
        lane.running[ticket.execution_id] = ticket
        self.running += 1

    def _wait(self, lane: Lane, ticket: Ticket) -> Verdict:
        replaced: list[Ticket] = []
        if not ticket.must_run and ticket.job.catch_up != "all":
            # Late runs of a job do not pile up: the newest fire replaces those that wait before it.
            replaced = [waiting for waiting in lane.waiting if not waiting.must_run]
            lane.waiting = tuple(waiting for waiting in lane.waiting if waiting.must_run)
        if len(lane.waiting) >= QUEUE_LIMIT:
            return Verdict("miss", "capacity", f"{QUEUE_LIMIT} runs of the job are waiting already")
        lane.waiting += (ticket,)
        self._rotate(ticket.job.id, lane)
        return Verdict("wait", replaced=replaced)

    def _rotate(self, job_id: str, lane: Lane) -> None:
        if not lane.in_rotation and lane.waiting and lane.taken < lane.waiting[0].job.instances:
            lane.in_rotation = True
            self._rotation.append(job_id)

    def _tidy(self, job_id: str, lane: Lane) -> None:
        if lane.running or lane.lingering or lane.waiting:
            self._rotate(job_id, lane)
        elif not lane.in_rotation:
            del self._lanes[job_id]


def _in_the_way(lane: Lane) -> tuple[str, str]:
    """Return the run that keeps another one of its job from starting, and its state in words."""
    if lane.running:
        return next(iter(lane.running)), "was still running"
    if lane.lingering:
        return next(iter(lane.lingering)), "had ended, but its body was still running"
    return lane.waiting[0].execution_id, "was still waiting for a slot"
