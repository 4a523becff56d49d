"""Coroutine bodies, as tasks on the kernel's loop."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from gnomon.domain.body_sample import BodySample
from gnomon.loop_guard import is_from_signal, raise_from_loop
from gnomon.ports import Clock
from gnomon.runners.base import Outcome, Run, Runner
from gnomon.runners.calls import FINISHED, awaited_again, exit_if_forked
from gnomon.runners.context import context_of_task, enter, leave
from gnomon.runners.outcome import failure_outcome, success_outcome
from gnomon.runners.process_usage import process_usage
from gnomon.runners.stack_frames import awaiting_stacks
from gnomon.tasks import ProtectedTask, end
from gnomon.threads import in_thread, is_on_loop


class AsyncRunner(Runner):
    """Runs a coroutine function in the task that calls `run`: one task for each run."""

    name = "async"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._bodies: dict[str, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process_id = os.getpid()

    async def run(self, run: Run) -> Outcome:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()  # kept: until Python 3.12 each call is a system call
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 - a coroutine always runs in a task
        self._tasks[run.execution.id] = task
        if isinstance(task, ProtectedTask):
            task.serves = run.context  # which may cancel it
        token = enter(run.context)
        started = self._clock.monotonic()
        try:
            args, kwargs = await _read_arguments(run) if run.reads_files else run.arguments()
            awaitable = self._bodies[run.execution.id] = run.body.func(*args, **kwargs)
            value = await awaitable
            if type(value) not in FINISHED:
                value = await awaited_again(value)
        except BaseException as exc:
            exit_if_forked(self._process_id, exc)
            if not is_on_loop():
                raise  # the kernel is gone, and the interpreter closes the coroutines that are left
            while task.cancelling():
                task.uncancel()  # the cancellation was for the body; this task still has to record the end
            if isinstance(exc, SystemExit | KeyboardInterrupt) and is_from_signal(exc):
                raise_from_loop(self._loop, exc)  # an operator ends the program, and interrupted this body
            return failure_outcome(exc, self._clock.monotonic() - started, run.context.mask)
        else:
            exit_if_forked(self._process_id)
            return success_outcome(value, self._clock.monotonic() - started, run.context.mask)
        finally:
            leave(token)
            del self._tasks[run.execution.id]
            self._bodies.pop(run.execution.id, None)

    def cancel(self, execution_id: str) -> None:
        """Cancel the task of the run."""
        if (task := self._tasks.get(execution_id)) is not None:
            end(task)

    async def sample(self, execution_id: str) -> BodySample | None:
        """Return where the body waits: it cannot run while this does, on the same loop."""
        if (task := self._tasks.get(execution_id)) is None:
            return None
        context = getattr(task, "serves", None)
        own = [one for one in asyncio.all_tasks() if context is not None and context_of_task(one) is context]
        stacks = awaiting_stacks("the body", self._bodies.get(execution_id), own)
        return BodySample(stacks=stacks, process=process_usage(os.getpid()))


async def _read_arguments(run: Run) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a call that has files with secrets; in a thread, since a file system may block."""
    return await in_thread(run.arguments, "gnomon secrets")
