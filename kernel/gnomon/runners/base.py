"""The runner port: what a runner receives, what it returns, and who calls its methods when.

The supervisor owns the runners and serves all runs of one kind with one runner. For each run it

1. records `started` and waits until that event is durable;
2. calls `run(run)` once, in a task of the kernel's loop, and records the end from the Outcome that it returns;
3. calls `cancel(execution_id)` at any moment in between, any number of times: on a cancel request, a timeout, silence
   or a stopping kernel. The run's context was notified before, so the next context call of the body raises
   RunCancelled.

`run` never raises because of the body: whatever the body raises, SystemExit and KeyboardInterrupt included, becomes an
Outcome. If `run` raises anyway, the supervisor records the run as failed with reason `internal`. If a body
outlasts its timeout plus `cancel_grace`, the supervisor records its end without waiting; an Outcome that `run` returns
afterwards becomes a `late_result`.

The bodies of a *remote* runner (`is_remote`) run elsewhere, begin later, and outlive the kernel:

* In step 1 `handed_over` is recorded instead, with the `queue_of` the job. `started` follows when the runner calls
  `run.placement.begun`; the limits of the run count from then on.
* Until a body begins, `withdraw(execution_id)` may be called, because the run was cancelled or its grace has passed.
* A kernel that stops, crashes or is deposed cancels the task of `run` and neither withdraws nor cancels the body. The
  next kernel calls `run` again, with `is_adopted`, for each run that was handed over and has not ended, where `adopt`
  returns true. It may be a run that never reached its queue: a body must begin at most once, however often it is sent.
* What a body reports while no kernel runs is kept for the next one. `run` passes it on and returns the end then.
* A body that was given up as lost may come back: it is to be asked to stop, and its end is passed to `DurableLog.late`.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, ClassVar, Protocol

import msgspec

from gnomon.domain.body_sample import BodySample
from gnomon.domain.events import FailedReason
from gnomon.domain.execution import Execution
from gnomon.domain.own_copies import own_value
from gnomon.domain.secret_references import is_flat, references
from gnomon.domain.workers import WorkerView
from gnomon.jobs.body import Body
from gnomon.jobs.job import Job, Limits
from gnomon.jobs.secrets import open_arguments
from gnomon.runners.context import Context


class Snooze(msgspec.Struct, frozen=True):
    """The wish of a body to run again after so many seconds; `reason` is a bounded text, empty where it gave none."""

    seconds: float
    reason: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """How a body ended: with a value, with an exception, or because it was asked to stop.

    `value` is JSON and the texts are bounded, as `runners.outcome` builds them. `error_type` is None exactly when the
    body returned or snoozed. `cancelled` means that the body stopped on request, or with a `snooze`; `killed` that its
    process was ended by a signal. `execution_time` is in seconds on the monotonic clock. `exception` is what the body
    raised, for the logging of the program: None where it was raised in another process, or may contain secrets.
    `reason` is the kind of a failure that is not the body's own, such as "lost".
    """

    execution_time: float
    value: Any = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    cancelled: bool = False
    killed: bool = False
    snooze: Snooze | None = None
    exception: BaseException | None = None
    reason: FailedReason | None = None

    @property
    def is_success(self) -> bool:
        """Whether the body returned."""
        return self.error_type is None and not self.cancelled


class DurableLog(msgspec.Struct, frozen=True):
    """The log, as a remote runner sees it.

    `term` rises with each term of a kernel that leads the log. `durable()` returns a future that is done when all that
    was recorded so far is in the log, or has a DeposedError; shield it against cancellation. `late(execution_id,
    outcome)` records how a body ended after `run` had returned that it was lost, as a `late_result`; it does nothing
    for any other run, or for a second time. StoreError, DeposedError.
    """

    log_id: str
    term: int
    durable: Callable[[], asyncio.Future[None]]
    late: Callable[[str, Outcome], Awaitable[None]]


class Placement(Protocol):
    """Receives what a remote runner knows of a body that has not begun. Called on the kernel's loop."""

    def waits(self, reason: str | None) -> None:
        """Show why the body does not begin, as a sentence such as "the broker cannot be reached"; None: no longer."""

    def begun(self, worker: str, at: datetime, code: str | None = None) -> None:
        """Record that the body has begun, with the name of the worker; a second call changes nothing.

        `code` names the code that the worker runs, such as "reports 1.4.2".
        """


class Run(msgspec.Struct, frozen=True):
    """One run of a body: the execution with its arguments, and the context that connects the body to the kernel.

    `cancel_grace` (seconds) is how long the body may take to stop; `limits` apply to runners that can enforce them.
    Only a remote runner has a `placement`. A run that `is_adopted` was handed over by an earlier kernel, and may have
    begun; its `job` has no function if it was removed since.
    """

    execution: Execution
    job: Job
    body: Body
    context: Context
    placement: Placement | None = None
    is_adopted: bool = False

    @property
    def cancel_grace(self) -> float:
        """How long the body may take to stop, in seconds."""
        return self.job.cancel_grace.total_seconds()

    @property
    def limits(self) -> Limits | None:
        """The limits of the job's process."""
        return self.job.limits

    @property
    def reads_files(self) -> bool:
        """Whether `arguments` reads files, which may block."""
        args, kwargs = self.execution.args, self.execution.kwargs
        if not (args or kwargs):
            return False
        is_plain = is_flat(args) and is_flat(kwargs)
        return not is_plain and any(reference.kind == "file" for _, reference in references([args, kwargs], ""))

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the positional and named arguments of the call, which the body may change, with its secrets.

        Reads files. SecretError for a secret that cannot be read.
        """
        execution = self.execution
        args, kwargs = execution.args, execution.kwargs
        if (args or kwargs) and not (is_flat(args) and is_flat(kwargs)):
            args, kwargs, secrets = open_arguments(own_value(args), own_value(kwargs))
            self.context.hide(*secrets)
        return self.body.arguments(args, kwargs, self.context, force=execution.force)


class Runner(ABC):
    """Runs bodies in one way. Its methods are called on the kernel's loop and must not block it.

    `name` is what a job gives as its `runner`. `is_remote` says that bodies run elsewhere and outlive the kernel,
    `enforces_limits` that a job may have `limits`.
    """

    name: ClassVar[str]
    is_remote: ClassVar[bool] = False
    enforces_limits: ClassVar[bool] = False

    @abstractmethod
    async def run(self, run: Run) -> Outcome:
        """Run the body to its end and return its outcome; called once for each run, after `started` is durable.

        For a body that was withdrawn, an Outcome that is `cancelled` is returned without a call of `begun`.
        """

    @abstractmethod
    def cancel(self, execution_id: str) -> None:
        """Request that a body stops, in the strongest way that lets it clean up; returns at once.

        Does nothing for an id that is not running here: the body may have ended, or not have begun.
        """

    def withdraw(self, execution_id: str) -> None:  # noqa: B027 - bodies that are not remote begin at once
        """Prevent a body from beginning, after which `run` returns; does nothing where it has begun."""

    def adopt(self, execution: Execution) -> bool:  # noqa: ARG002 - for remote runners
        """Return whether a body that an earlier kernel handed over may be queued, running, or have ended, elsewhere."""
        return self.is_remote

    def queue_of(self, job: Job) -> str:  # noqa: ARG002 - for remote runners
        """Return the name of the queue to which runs of the job are handed over, for `handed_over` and for viewers."""
        return ""

    @contextlib.asynccontextmanager
    async def lifespan(self, durable_log: DurableLog) -> AsyncIterator[None]:  # noqa: ARG002 - for remote runners
        """Prepare to run bodies, before the first `run`, and release everything after the last one; entered each term.

        A server that cannot be reached is not an error: runs wait for it. What bodies have reported may be deleted
        elsewhere once it is durable in the log.
        """
        yield

    async def workers(self) -> WorkerView | None:
        """Return the workers that run the bodies and the queues in which they wait; None for bodies in this process.

        Called when an operator looks, with a time limit of a few seconds; what it raises is shown as a problem.
        """
        return None

    async def sample(self, execution_id: str) -> BodySample | None:  # noqa: ARG002 - for runners that can look
        """Return where a running body is in its code, and what its process uses; None for a runner that cannot look.

        Called when an operator looks, for any id, with a time limit of some seconds; what it raises is shown as a
        problem. It neither stops the body nor slows it down, and returns no values of variables: they may be secrets.
        """
        return None
