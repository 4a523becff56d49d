"""Coroutine bodies, as tasks on the kernel's loop."""

from __future__ import annotations

import asyncio
from typing import Any

from gnomon.ports import Clock
from gnomon.runners.base import Outcome, Run, Runner
from gnomon.runners.context import enter, leave
from gnomon.runners.outcome import raised, returned


class AsyncRunner(Runner):
    """Runs a coroutine function in the very task in which it is called: one task for each run."""

    name = "async"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, run: Run) -> Outcome:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()  # kept: until Python 3.12 each question is a system call
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 - there is one wherever something is awaited
        self._tasks[run.execution.id] = task
        token = enter(run.context)
        started = self._clock.monotonic()
        try:
            args, kwargs = run.arguments()
            value = await run.body.func(*args, **kwargs)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as exc:  # noqa: BLE001 - a body may raise anything, SystemExit too: it is the run that ends
            while task.cancelling():
                task.uncancel()  # the cancellation was for the body; this task has its end to tell
            return raised(exc, self._clock.monotonic() - started)
        else:
            return returned(value, self._clock.monotonic() - started)
        finally:
            leave(token)
            del self._tasks[run.execution.id]

    def cancel(self, execution_id: str) -> None:
        if (task := self._tasks.get(execution_id)) is not None:
            task.cancel()
