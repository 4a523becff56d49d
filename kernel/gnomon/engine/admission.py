"""Which accepted runs may start now, and which wait: overlap within a job, a fair queue over all of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec

from gnomon.domain.records import StoreHealth
from gnomon.jobs.job import Job

QUEUE_LIMIT = 1_000
"""Runs of one job that may wait; beyond that the job cannot keep up with itself, and memory would only grow."""


class Ticket(msgspec.Struct, eq=False, gc=False):
    """A run on its way: `due` is when it could have started. `must_run` holds for what somebody asked for by hand."""

    execution_id: str
    job: Job
    due: datetime
    must_run: bool = False


class Verdict(msgspec.Struct):
    """What becomes of a run that asks to be let in, and of others because of it."""

    answer: Literal["start", "wait", "miss"]
    detail: str = ""
    is_capacity: bool = False
    replaced: list[Ticket] = []
    to_cancel: list[str] = []


_START = Verdict("start")


class Lane(msgspec.Struct, eq=False, gc=False):
    """The runs of one job: going on, and waiting in line."""

    running: dict[str, Ticket] = {}
    waiting: tuple[Ticket, ...] = ()
    in_rotation: bool = False


class Admission:
    """Counts what is running and keeps who waits. It knows no time and no events: it only says who is next.

    Nobody starts while the store's health says that it accepts no runs: it has room but for the ends of what is going.
    """

    def __init__(self, max_running: int, store_health: Callable[[], StoreHealth] = StoreHealth) -> None:
        self.max_running = max_running
        self._store_health = store_health
        self.running = 0
        self.is_open = True
        self._lanes: dict[str, Lane] = {}
        self._rotation: deque[str] = deque()

    def ask(self, ticket: Ticket, *, is_backlog: bool = False) -> Verdict:
        """Decide about a run; with "start" and "wait" it has its place here until `leave` or `withdraw`."""
        job = ticket.job
        if (lane := self._lanes.get(job.id)) is None:
            lane = self._lanes[job.id] = Lane()
        if not lane.waiting and (not lane.running or len(lane.running) < job.instances):
            if not self._rotation and self._has_place():
                self._enter(lane, ticket)
                return _START
            return self._wait(lane, ticket)
        has_room = len(lane.running) + len(lane.waiting) < job.instances  # it is the kernel that is full, not the job
        if ticket.must_run or is_backlog or job.overlap == "queue" or (has_room and job.overlap == "allow"):
            return self._wait(lane, ticket)
        if job.overlap == "cancel_previous":
            verdict = self._wait(lane, ticket)
            verdict.to_cancel = list(lane.running)
            return verdict
        others = list(lane.running) or [waiting.execution_id for waiting in lane.waiting]
        state = "was still going on" if lane.running else "was still waiting for a slot"
        return Verdict("miss", f"run {others[0]} {state}, and overlap is {job.overlap!r}")

    def next(self) -> Ticket | None:
        """Let in the next run that waits, jobs in turn; None where nobody may start."""
        while self._rotation and self._has_place():
            job_id = self._rotation.popleft()
            lane = self._lanes[job_id]
            lane.in_rotation = False
            if not lane.waiting or len(lane.running) >= lane.waiting[0].job.instances:
                self._tidy(job_id, lane)
                continue
            ticket, *rest = lane.waiting
            lane.waiting = tuple(rest)
            self._enter(lane, ticket)
            self._rotate(job_id, lane)
            return ticket
        return None

    def leave(self, execution_id: str, job_id: str) -> bool:
        """Give a place back, and tell whether somebody waits for one; a second call for the same run gives nothing."""
        lane = self._lanes.get(job_id)
        if lane is not None and lane.running.pop(execution_id, None) is not None:
            self.running -= 1
            self._tidy(job_id, lane)
        return bool(self._rotation)

    def withdraw(self, execution_id: str, job_id: str) -> bool:
        """Take a waiting run out of the line; False where it does not wait."""
        lane = self._lanes.get(job_id)
        ticket = next((t for t in lane.waiting if t.execution_id == execution_id), None) if lane is not None else None
        if lane is None or ticket is None:
            return False
        lane.waiting = tuple(waiting for waiting in lane.waiting if waiting is not ticket)
        self._tidy(job_id, lane)
        return True

    def running_of(self, job_id: str) -> list[str]:
        """List the runs of a job that hold a place."""
        lane = self._lanes.get(job_id)
        return list(lane.running) if lane is not None else []

    def waiting_of(self, job_id: str) -> list[Ticket]:
        """List the runs of a job that wait."""
        lane = self._lanes.get(job_id)
        return list(lane.waiting) if lane is not None else []

    @property
    def waiting(self) -> int:
        """How many runs wait."""
        return sum(len(lane.waiting) for lane in self._lanes.values())

    def _has_place(self) -> bool:
        return self.running < self.max_running and self.is_open and self._store_health().accepts_runs

    def _enter(self, lane: Lane, ticket: Ticket) -> None:
        lane.running[ticket.execution_id] = ticket
        self.running += 1

    def _wait(self, lane: Lane, ticket: Ticket) -> Verdict:
        replaced: list[Ticket] = []
        if not ticket.must_run and ticket.job.catch_up != "all":
            # Late runs of a job do not pile up: the newest fire takes the place of those that wait before it.
            replaced = [waiting for waiting in lane.waiting if not waiting.must_run]
            lane.waiting = tuple(waiting for waiting in lane.waiting if waiting.must_run)
        if len(lane.waiting) >= QUEUE_LIMIT:
            return Verdict("miss", f"{QUEUE_LIMIT} runs of the job are waiting already", is_capacity=True)
        lane.waiting += (ticket,)
        self._rotate(ticket.job.id, lane)
        return Verdict("wait", replaced=replaced)

    def _rotate(self, job_id: str, lane: Lane) -> None:
        if not lane.in_rotation and lane.waiting and len(lane.running) < lane.waiting[0].job.instances:
            lane.in_rotation = True
            self._rotation.append(job_id)

    def _tidy(self, job_id: str, lane: Lane) -> None:
        if lane.running or lane.waiting:
            self._rotate(job_id, lane)
        elif not lane.in_rotation:
            del self._lanes[job_id]
