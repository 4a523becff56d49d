"""Runs a kernel on its own thread and event loop, for programs that have none: from its start to its end.

State: new → starting → running → stopping → stopped; a start that fails leads to stopped. Each change is made by the
thread that calls `start` or `stop`, or by the thread of the kernel where the kernel ends by itself.

A forked child has a copy of the object and no thread: every call there says so. When the interpreter exits, all kernels
are stopped before the thread pools of the interpreter, which stores use: `atexit` would be too late.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # its hook for the end of the interpreter must be older than ours
import os
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from gnomon.engine.contained_calls import contained
from gnomon.engine.leader import FLUSH_LIMIT_S
from gnomon.errors import GnomonError
from gnomon.forks import forked_error
from gnomon.kernel import Kernel
from gnomon.logs import get_logger
from gnomon.loop_guard import run_protected
from gnomon.safe_text import safe_repr, safe_str
from gnomon.tasks import end, submit

log = get_logger("gnomon.background")

T = TypeVar("T")
State = Literal["new", "starting", "running", "stopping", "stopped"]

STOP_MARGIN_S = 10.0
"""Seconds that a stop may take beyond the sum of its limits: for the store to close, on a busy machine."""
EXIT_REASON = "the program ended"


class StopNow(Exception):
    """Leaves the block of the kernel without waiting for running bodies."""


class KernelThread:
    """The thread of one kernel. All methods may be called from any thread but that of the kernel itself."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.state: State = "new"
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._ending = ""
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._stop_requested: asyncio.Event
        self._drains = True
        self._stopped = threading.Event()

    def start(self, timeout: float | None = None) -> None:
        """Start the thread, and return when the kernel runs; raise what its start raises."""
        self._check_process()  # before the lock, which a thread of the parent may have held at the fork
        with self._lock:
            if self.state != "new":
                raise GnomonError(self._not_startable())
            self.state, self._pid = "starting", os.getpid()
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="gnomon-kernel", daemon=True)
        _stop_at_exit(self)
        try:
            self._thread.start()
            started.result(timeout)
        except TimeoutError:
            if started.done():
                raise  # of the start itself
            self._end_task()
            raise GnomonError(f"the kernel did not start within {timeout:g} s, and is being stopped") from None
        except BaseException:  # a failed start, or a Ctrl-C while it is waited for
            self._end_task()
            if self._thread.is_alive():
                self._stopped.wait(self._stop_limit_s())
            self.state = "stopped"
            raise

    def stop(self, *, drains: bool, reason: str) -> None:
        """Stop the kernel and wait for its end; raise what ended a kernel that had failed.

        A Ctrl-C while bodies are waited for cancels them; a second one leaves the stop to the thread of the kernel.
        """
        self._check_process()
        self._check_thread("shutdown()")
        with self._lock:
            if self.state in {"new", "stopped"}:
                self.state = "stopped"
                self._ending = self._ending or reason
                self._raise_failure()
                return
            before, self.state = self.state, "stopping"
        if before != "stopping":
            self._ending, self._drains = reason, drains
            self.kernel.stop_reason = self.kernel.stop_reason or reason
        if before == "starting" or (before == "stopping" and not drains):
            self._end_task()  # a start may wait long for its store, a stop for bodies
        self._request_stop()
        limit = self._stop_limit_s()
        try:
            is_stopped = self._stopped.wait(limit)
        except KeyboardInterrupt:
            self._end_task()  # no more waiting for bodies: they are cancelled
            is_stopped = self._stopped.wait(limit)
        if not is_stopped:
            raise GnomonError(f"the kernel did not stop within {limit:g} s; its thread is left behind")
        self._raise_failure()

    def call(self, name: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await a coroutine of the kernel on its loop, and return the result."""
        self._check_process()
        if self.state != "running":
            raise GnomonError(f"{name}(): {self._not_running()}")
        self._check_thread(f"{name}()")
        loop = self._loop
        assert loop is not None  # noqa: S101 - it is set before the state is `running`
        work = contained(make())
        try:
            future = submit(work, loop)
        except RuntimeError as exc:  # its loop has just been closed
            work.close()
            raise GnomonError(f"{name}(): {self._not_running()}") from exc
        try:
            return future.result()
        except concurrent.futures.CancelledError as exc:
            raise GnomonError(f"{name}(): the kernel stopped before it had answered") from exc
        except BaseException:
            future.cancel()  # a Ctrl-C in this thread; anything else has ended the call already
            raise

    # --- in the thread of the kernel ---

    def _run(self, started: concurrent.futures.Future[None]) -> None:
        try:
            run_protected(self._serve(started))
        except StopNow:
            pass
        except BaseException as exc:  # noqa: BLE001 - raised in the thread that starts or stops the kernel
            if not started.done():
                self._ending = self._ending or f"its start failed: {safe_str(exc)}"
                self.state = "stopped"
                given_up = isinstance(exc, asyncio.CancelledError)
                started.set_exception(GnomonError("the kernel was stopped while it started") if given_up else exc)
            elif self.state != "stopping" or isinstance(exc, GnomonError):
                self._failure = exc
                self._ending = self._ending or f"it failed: {exc}"
        finally:
            self.state = "stopped"
            self._loop = self._task = None
            self._stopped.set()
            if not started.done():
                started.set_exception(GnomonError("the kernel ended before it had started"))

    async def _serve(self, started: concurrent.futures.Future[None]) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._stop_requested = asyncio.Event()
        async with self.kernel:
            self.state = "running" if self.state == "starting" else self.state
            started.set_result(None)
            await self._stop_requested.wait()
            if not self._drains:
                raise StopNow

    # --- from other threads ---

    @property
    def is_of_this_process(self) -> bool:
        """Whether the kernel was started in this process, and not in the one that it was forked from."""
        return self._pid == os.getpid()

    def _request_stop(self) -> None:
        if (loop := self._loop) is not None:
            _call_soon(loop, lambda: self._stop_requested.set())  # noqa: PLW0108 - it may not exist yet

    def _end_task(self) -> None:
        """Cancel the task of the kernel: a start is given up, a stop waits for bodies no longer."""
        if (loop := self._loop) is not None and (task := self._task) is not None:
            _call_soon(loop, lambda: end(task))

    def _stop_limit_s(self) -> float:
        limit = self.kernel.drain.total_seconds() + self.kernel.longest_grace_s + FLUSH_LIMIT_S + STOP_MARGIN_S
        return min(limit, threading.TIMEOUT_MAX)

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _check_thread(self, what: str) -> None:
        if self._thread is threading.current_thread():
            raise GnomonError(
                f"{what} was called on the event loop of the kernel, which would wait for itself: in an `async def` "
                "body, await the method of `kernel.kernel`, or write the body as a plain `def`"
            )

    def _check_process(self) -> None:
        if self._pid != os.getpid() and self.state != "new":
            raise forked_error("the kernel", self._pid)

    def _not_startable(self) -> str:
        if self.state == "stopped":
            return f"the kernel has been stopped ({self._ending}) and cannot be started again: make a new one"
        return f"the kernel is {self.state} already"

    def _not_running(self) -> str:
        return {
            "new": "the kernel is not running: call start(), or use `with kernel:`",
            "starting": "the kernel is still starting",
            "running": "the kernel is not running",
            "stopping": f"the kernel is stopping ({self._ending})",
            "stopped": f"the kernel has been stopped ({self._ending})",
        }[self.state]


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:  # it is closed: the kernel has ended
        return


# --- the end of the interpreter ---

_kernels: weakref.WeakSet[KernelThread] = weakref.WeakSet()
_is_registered = False


def _stop_at_exit(thread: KernelThread) -> None:
    global _is_registered  # noqa: PLW0603 - a process has one end
    _kernels.add(thread)
    if not _is_registered:
        # Not atexit: it comes after the thread pools were shut down, without which a SQLite log cannot be written.
        threading._register_atexit(_stop_all)  # type: ignore[attr-defined]  # noqa: SLF001 - as concurrent.futures
        _is_registered = True


def _stop_all() -> None:
    """Stop the kernels that still run. Bodies are waited for, unless the program was interrupted."""
    is_interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    for thread in list(_kernels):
        if thread.is_of_this_process and thread.state in {"starting", "running", "stopping"}:
            try:
                thread.stop(drains=not is_interrupted, reason="Ctrl-C" if is_interrupted else EXIT_REASON)
            except BaseException as exc:  # noqa: BLE001 - the interpreter ends in any case
                log.critical("the kernel did not stop in order at the end of the program", problem=safe_repr(exc))
