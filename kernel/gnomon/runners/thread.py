"""Plain functions, each in a thread of its own."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from gnomon.ports import Clock
from gnomon.runners.base import Outcome, Run, Runner
from gnomon.runners.context import entered
from gnomon.runners.outcome import raised, returned
from gnomon.threads import in_thread


class ThreadRunner(Runner):
    """Runs a function in a daemon thread.

    Nobody can stop a thread from outside: a cancelled body stops at its next context call, or not at all, and is shown
    as still running until then. What must be stopped for sure belongs into a process.
    """

    name = "thread"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def run(self, run: Run) -> Outcome:
        try:
            return await in_thread(lambda: self._work(run), name=f"gnomon {run.execution.job_id} {run.execution.id}")
        except RuntimeError as exc:  # the machine has no thread left
            return raised(exc, 0.0)

    def cancel(self, execution_id: str) -> None:
        """Do nothing more: the run's context knows already."""

    def _work(self, run: Run) -> Outcome:
        started = self._clock.monotonic()
        try:
            with entered(run.context):
                args, kwargs = run.arguments()
                value = _plain(run.body.func(*args, **kwargs))
        except BaseException as exc:  # noqa: BLE001 - a body may raise anything, SystemExit too: it is the run that ends
            return raised(exc, self._clock.monotonic() - started)
        return returned(value, self._clock.monotonic() - started)


def _plain(value: Any) -> Any:
    """Run what turns out to be a coroutine, such as that of a lambda or a partial around an async function."""
    return asyncio.run(value) if inspect.iscoroutine(value) else value
