"""The port for whatever runs bodies: Runner, and what it is given and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import msgspec

from gnomon.domain.execution import Execution
from gnomon.jobs.body import Body
from gnomon.jobs.job import Limits
from gnomon.runners.context import Context


class Outcome(msgspec.Struct, frozen=True):
    """How a body ended: with a value, with an exception, or because it was told to stop.

    `traceback` is text, as it is to be kept. `execution_time` is seconds on the monotonic clock.
    """

    execution_time: float
    value: Any = None
    error: BaseException | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    cancelled: bool = False
    killed: bool = False


class Run(msgspec.Struct, frozen=True):
    """What a runner is given: a body, its execution with the arguments, and the context that connects it to the kernel.

    `cancel_grace` is in seconds; `limits` are for those that can enforce them.
    """

    execution: Execution
    body: Body
    context: Context
    cancel_grace: float = 10.0
    limits: Limits | None = None

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Return what the body is called with."""
        execution = self.execution
        return self.body.arguments(execution.args, execution.kwargs, self.context, force=execution.force)


class Runner(ABC):
    """Runs bodies in one way: as a task, in a thread, in a process. One runner serves all runs of its kind."""

    name: ClassVar[str]

    @abstractmethod
    async def run(self, run: Run) -> Outcome:
        """Run the body to its end and say how it ended; it never raises for what the body does.

        Called in a task of its own on the kernel's loop, when `started` is durable. It must not block the loop.
        """

    @abstractmethod
    def cancel(self, execution_id: str) -> None:
        """Ask a running body to stop, in the strongest way that leaves it a chance to clean up; does not wait.

        The run's context is told before, so that its next call raises RunCancelled.
        """
