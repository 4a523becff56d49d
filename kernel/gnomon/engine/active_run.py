"""A run with a live body, as the supervisor and the launcher know it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Protocol

import msgspec

from gnomon.domain.events import FailedReason
from gnomon.domain.execution import Execution
from gnomon.engine.loop_watchdog import Stall
from gnomon.jobs.body import Body
from gnomon.jobs.job import Job
from gnomon.runners.base import Placement, Runner
from gnomon.runners.context import Context
from gnomon.tasks import ProtectedTask

RETRIED = frozenset({"exception", "timeout", "silence", "zombie", "lost", "killed"})
"""The kinds of failure that a job's `retry` covers; a run that an operator marked as failed stays failed."""


class RunObserver(Protocol):
    """Receives the end of a run; the body may still be running."""

    def on_run_over(self, active: ActiveRun) -> None:
        """Handle the end of a run; called once, when it is recorded."""

    def on_body_end(self, active: ActiveRun) -> None:
        """Handle the end of a body that outlived its run; called once."""


class Ending(msgspec.Struct, frozen=True):
    """Why the kernel ends a run that nobody cancelled."""

    reason: FailedReason
    message: str
    actor: str | None = None


class ActiveRun(msgspec.Struct, eq=False, gc=False):
    """A run with a live body, or one that is about to start.

    The garbage collector does not see it: the supervisor ends its reference cycles with its `task`, `watchers` and
    `placement` when its body has ended. `begins_before` and `waits_because` concern a body that is to begin elsewhere;
    one that is late `is_expired`. An adopted run was handed over by an earlier kernel, one that `is_left` goes on after
    this one.
    """

    execution: Execution
    job: Job
    body: Body
    context: Context
    runner: Runner
    observer: RunObserver
    started_at: float = 0.0
    task: asyncio.Task[None] | None = None
    watchers: tuple[ProtectedTask[None], ...] = ()
    ending: Ending | None = None
    cancel_reason: str | None = None
    stall: Stall | None = None
    is_over: bool = False
    body_has_ended: bool = False
    lingers: bool = False
    keeps_slot: bool = True
    placement: Placement | None = None
    begins_before: datetime | None = None
    waits_because: str | None = None
    is_expired: bool = False
    is_adopted: bool = False
    is_left: bool = False
    has_begun_before: bool = False

    @property
    def has_begun(self) -> bool:
        """Whether its body has begun, or begins as soon as `started` is durable."""
        return self.execution.has_started

    @property
    def waits_in(self) -> str | None:
        """The queue in which it waits for a worker elsewhere; None where its body has begun, or runs here."""
        return self.execution.queue if self.runner.is_remote and not self.has_begun else None
