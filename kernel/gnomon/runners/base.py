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
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import msgspec

from gnomon.domain.execution import Execution
from gnomon.domain.own_copies import own_value
from gnomon.domain.secret_references import is_flat, references
from gnomon.domain.workers import WorkerView
from gnomon.jobs.body import Body
from gnomon.jobs.job import Limits
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

    @property
    def is_success(self) -> bool:
        """Whether the body returned."""
        return self.error_type is None and not self.cancelled


class Run(msgspec.Struct, frozen=True):
    """One run of a body: the execution with its arguments, and the context that connects the body to the kernel.

    `cancel_grace` (seconds) is how long the body may take to stop; `limits` apply to runners that can enforce them.
    """

    execution: Execution
    body: Body
    context: Context
    cancel_grace: float = 10.0
    limits: Limits | None = None

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
    """Runs bodies in one way. Both methods are called on the kernel's loop and must not block it."""

    name: ClassVar[str]

    @abstractmethod
    async def run(self, run: Run) -> Outcome:
        """Run the body to its end and return its outcome; called once for each run, after `started` is durable."""

    @abstractmethod
    def cancel(self, execution_id: str) -> None:
        """Request that a body stops, in the strongest way that lets it clean up; returns at once.

        Does nothing for an id that is not running here: the body may have ended, or not have begun.
        """

    async def workers(self) -> WorkerView | None:
        """Return the workers that run the bodies and the queues in which they wait; None for bodies in this process.

        Called when an operator looks, with a time limit of a few seconds; what it raises is shown as a problem.
        """
        return None
