"""Tasks of the kernel, which code of jobs cannot cancel.

Any code on an event loop can list all its tasks and cancel them. A body that does so, on purpose or to clean up, must
not stop the clock, lose a retry or end the run of another job. A cancellation of a protected task is therefore refused
if it comes from code of a run, except from the run that the task serves.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import Any, TypeVar

from gnomon.logs import get_logger

log = get_logger("gnomon.tasks")

T = TypeVar("T")

CANCEL_AGAIN_S = 0.5
"""Seconds after which a task that has not ended is cancelled again."""

running: ContextVar[Any] = ContextVar("gnomon_current")
"""The context of the run whose code is being executed. Its tasks, callbacks and threads inherit it. None, or no value,
outside of runs."""


class ProtectedTask(asyncio.Task[T]):
    """A task of the kernel. `serves` is the context of the run whose body it executes, None for any other task."""

    serves: Any = None

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the task; refused, with a line in the log, if code of another run asks for it."""
        caller = running.get(None)
        if caller is None or caller is self.serves or asyncio.current_task(self.get_loop()) is self:
            return super().cancel(msg)
        if _is_in_signal_handler():
            return super().cancel(msg)
        if not self.done():
            log.warning("a job tried to cancel a task that is not its own: refused", task=self.get_name())
        return False

    def end(self) -> bool:
        """Cancel the task, whatever code this is called from: for the kernel itself."""
        return super().cancel()


def protected(work: Coroutine[Any, Any, T], name: str | None = None) -> ProtectedTask[T]:
    """Start a protected task on the running loop, outside of any run.

    The task factory of the loop is not used: it belongs to the program.
    """
    return ProtectedTask(work, loop=asyncio.get_running_loop(), name=name, context=outside_runs())


def submit(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> concurrent.futures.Future[T]:
    """Start a protected task on a loop from another thread, like asyncio.run_coroutine_threadsafe.

    RuntimeError where the loop is closed; the coroutine is not closed then.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def start() -> None:
        task = protected(work)
        task.add_done_callback(pass_on)
        future.add_done_callback(lambda _: withdraw(task) if future.cancelled() else None)

    def withdraw(task: ProtectedTask[T]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and has ended its tasks
            loop.call_soon_threadsafe(task.end)

    def pass_on(task: asyncio.Task[T]) -> None:
        if task.cancelled():
            future.cancel()
        if not future.set_running_or_notify_cancel():
            return
        if (exc := task.exception()) is not None:
            future.set_exception(exc)
        else:
            future.set_result(task.result())

    loop.call_soon_threadsafe(start)
    return future


def protecting_factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    """Create a protected task, except for code of a run: a task factory for the loop of a program that is a kernel."""
    kind: type[asyncio.Task[Any]] = ProtectedTask if running.get(None) is None else asyncio.Task
    return kind(work, loop=loop, **options)


def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task of the kernel, whatever code this is called from."""
    if isinstance(task, ProtectedTask):
        task.end()
    else:
        task.cancel()


async def stop_tasks(tasks: Iterable[asyncio.Task[Any]], again_s: float = CANCEL_AGAIN_S) -> None:
    """Cancel tasks of the kernel, whatever code this is called from, and wait until they have ended.

    One that has not ended after `again_s` is cancelled again, because drivers sometimes swallow a cancellation: pymongo
    does so while it selects a server. A task whose clean-up takes longer needs a larger value.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            end(task)
        _, left = await asyncio.wait(left, timeout=again_s)


async def at_once(*calls: Awaitable[Any]) -> list[Any]:
    """Return the results of independent calls, which take the time of the longest one.

    The first exception is raised when all have ended: nothing goes on in the background.
    """
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def outside_runs() -> contextvars.Context:
    """Return a copy of the present context variables that belongs to no run."""
    context = contextvars.copy_context()
    if context.get(running) is not None:
        context.run(running.set, None)
    return context


class TaskSet:
    """Protected tasks that end with the kernel. `on_failure` is called with one that fails."""

    def __init__(self, on_failure: Callable[[asyncio.Task[None]], None] = lambda _: None) -> None:
        self._tasks: set[ProtectedTask[None]] = set()
        self._on_failure = on_failure

    def create_task(self, work: Coroutine[Any, Any, None], name: str | None = None) -> ProtectedTask[None]:
        """Start a task; it is kept until it has ended."""
        task = protected(work, name)
        self._tasks.add(task)
        task.add_done_callback(self._on_end, context=outside_runs())
        return task

    async def stop(self) -> None:
        """Cancel the tasks, and wait until they have ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.end()
        if tasks:
            await asyncio.wait(tasks)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._on_failure(task)


def signal_handlers() -> set[CodeType]:
    """Return the code of the functions that handle signals in this process."""
    found = set()
    for number in signal.valid_signals():
        function: Any = signal.getsignal(number)
        while isinstance(function, functools.partial):  # as asyncio.Runner has it
            function = function.func
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if isinstance(code, CodeType):
            found.add(code)
    return found


def _is_in_signal_handler() -> bool:
    """Return whether a signal handler is running, which has interrupted other code and has its context variables."""
    handlers = signal_handlers()
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - there is no other way
    while frame is not None:
        if frame.f_code in handlers:
            return True
        frame = frame.f_back
    return False
