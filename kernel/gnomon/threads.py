"""Thread names of plugins, and blocking calls in daemon threads, which cannot keep the process alive."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_PLUGIN = "gnomon-plugin-"


def thread_of(plugin: str) -> str:
    """Return the name of a plugin's thread."""
    return f"{_PLUGIN}{plugin}"


def plugin_of(thread: str | None) -> str | None:
    """Return the plugin whose thread has that name, or None."""
    return thread.removeprefix(_PLUGIN) if thread is not None and thread.startswith(_PLUGIN) else None


def is_on_loop() -> bool:
    """Return whether this thread is running an event loop now; false while the interpreter closes its coroutines."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def in_thread(call: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Start a call in a new daemon thread, with a copy of the context variables, and return a future of its result.

    Unlike asyncio.to_thread, whose pool is small: a few bodies that hang would block all others, and the interpreter
    would wait for them when it exits. RuntimeError where no thread can be started.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            result = context.run(call)
        except BaseException as exc:  # noqa: BLE001 - it is raised again where the future is awaited
            _post(loop, _fail, future, exc)
        else:
            _post(loop, _succeed, future, result)

    def give_up(_: threading.Thread) -> None:
        problem = f"the thread ended before its call began: {type(sys.exc_info()[1]).__name__}"
        _post(loop, _fail, future, RuntimeError(problem))

    thread = threading.Thread(target=work, name=name, daemon=True)
    # `work` raises nothing, but a trace or profile function that a job has set for all threads may raise before it.
    thread._invoke_excepthook = give_up  # type: ignore[attr-defined]  # noqa: SLF001 - the hook itself is the program's
    thread.start()
    return future


class ThreadPlaces:
    """Places for calls in threads: a thread cannot be ended, so a call that does not return keeps its place.

    Each call is awaited for `limit_s` seconds, the wait for a place included. Used on one event loop.
    """

    def __init__(self, name: str, at_once: int, limit_s: float) -> None:
        self._name = name
        self._limit_s = limit_s
        self._free = asyncio.Semaphore(at_once)

    async def run(self, call: Callable[[], T]) -> T:
        """Return what the call returns; TimeoutError where that takes too long, and the call goes on."""
        async with asyncio.timeout(self._limit_s):
            await self._free.acquire()
            return await asyncio.shield(self._start(call))

    def _start(self, call: Callable[[], T]) -> asyncio.Future[T]:
        try:
            future = in_thread(call, self._name)
        except BaseException:
            self._free.release()
            raise
        future.add_done_callback(self._done)
        return future

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._free.release()
        if not future.cancelled():
            future.exception()  # has been read, even where the caller is gone


def _post(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits for the result
        loop.call_soon_threadsafe(call, *args)


def _succeed(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], exc: BaseException) -> None:
    if future.done():
        return
    if isinstance(exc, StopIteration):  # a future cannot carry one
        exc = RuntimeError(f"StopIteration: {exc}")
    future.set_exception(exc)
