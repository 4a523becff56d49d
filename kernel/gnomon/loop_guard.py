"""Keeps an event loop alive whatever code of jobs and plugins does on it.

asyncio lets SystemExit and KeyboardInterrupt of a task or callback end the loop, so `sys.exit()` in a task that a body
awaits would end the kernel. A guarded loop continues with its next callback: asyncio has set the exception on the task,
so a caller that awaits the task receives it. What a signal handler raises passes: operators end programs that way.
Methods of the loop that stop it, or change it for everyone, are refused to such code. A loop that fails itself, because
such code has set one of its attributes to a value of another type, has the attribute restored and continues.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dis
import signal
import threading
from asyncio import events
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NoReturn, TypeVar
from weakref import WeakKeyDictionary

from gnomon.logs import get_logger
from gnomon.safe_text import safe_str, type_name
from gnomon.tasks import protecting_factory, running, signal_handlers

log = get_logger("gnomon.loop_guard")

T = TypeVar("T")

REFUSED = (
    "stop",
    "set_task_factory",
    "set_exception_handler",
    "set_default_executor",
    "shutdown_default_executor",
    "shutdown_asyncgens",
)
"""Methods of a loop that foreign code may not call, because they change it for all others."""
RUN_ONCE = "_run_once"
"""The method of asyncio's own loops that runs the callbacks of one turn; a public one does not exist."""
CALLBACK_POSITIONS = {
    "call_soon": 0,
    "call_soon_threadsafe": 0,
    "call_later": 1,
    "call_at": 1,
    "add_reader": 1,
    "add_writer": 1,
}
"""Where the methods of other loops, such as uvloop's, expect their callbacks. Steps of tasks come by `call_soon`."""
ENDINGS = (SystemExit, KeyboardInterrupt)
"""What asyncio does not catch."""

Report = Callable[[Any, BaseException], None]


class LoopGuard:
    """Guards the running loop of this thread, from `install` to `remove`.

    Code is foreign where the context variable `foreign` has a value; its tasks and callbacks inherit that. The methods
    in `refused` raise there. With `is_own_loop` nothing else on the loop may end it either. `report` receives the value
    of the variable, and what was raised.
    """

    def __init__(
        self,
        foreign: ContextVar[Any],
        report: Report,
        *,
        refused: Sequence[str] = REFUSED,
        is_own_loop: bool = False,
    ) -> None:
        self._foreign = foreign
        self._report = report
        self._refused = refused
        self._is_own_loop = is_own_loop
        self._loop: asyncio.AbstractEventLoop

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Replace the methods of the loop object that matter here; several kernels on one loop share them."""
        self._loop = loop
        if (methods := _guarded.get(loop)) is None:
            methods = _guarded[loop] = GuardedMethods(loop)
        methods.guards.append(self)

    def remove(self) -> None:
        """Restore the methods of the loop, unless another guard needs them."""
        methods = _guarded[self._loop]
        methods.guards.remove(self)
        if not methods.guards:
            methods.restore()
            del _guarded[self._loop]

    def contains(self, exc: BaseException, context: contextvars.Context | None) -> bool:
        """Report an exception that must not end the loop; False for one that may."""
        who = context.get(self._foreign) if context is not None else None
        if who is None and not self._is_own_loop:
            return False
        with contextlib.suppress(BaseException):  # a log handler is foreign code, too
            self._report(who, exc)
        return True

    def covers(self, context: contextvars.Context | None) -> bool:
        """Return whether a callback must not end the loop: one with these context variables, or the present ones."""
        who = self._foreign.get(None) if context is None else context.get(self._foreign)
        return who is not None or self._is_own_loop

    def refuses(self, method: str) -> bool:
        """Return whether the code that is running now may not call this method of the loop."""
        return method in self._refused and self._foreign.get(None) is not None


class GuardedMethods:
    """Replacements of methods of one loop object, for all guards of that loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.guards: list[LoopGuard] = []
        self._dict = loop.__dict__
        self._before: dict[str, Any] = {}
        self._attributes = {name: value for name, value in self._dict.items() if value is not None}
        if (run_once := getattr(loop, RUN_ONCE, None)) is not None:
            self._replace(RUN_ONCE, self._contained(run_once))
        else:
            for name, position in CALLBACK_POSITIONS.items():
                self._replace(name, self._wrapping(getattr(loop, name), position))
        for name in REFUSED:
            self._replace(name, self._refused(name, getattr(loop, name)))

    def restore(self) -> None:
        """Restore the methods of the loop."""
        for name, before in self._before.items():
            del self._dict[name]
            if before is not None:
                self._dict[name] = before

    def _replace(self, name: str, replacement: Any) -> None:
        self._before[name] = self._dict.get(name)
        self._dict[name] = replacement

    def _contained(self, run_once: Callable[[], None]) -> Callable[[], None]:
        def run_once_contained() -> None:
            try:
                run_once()
            except ENDINGS as exc:  # the callbacks that are left stay in the loop's queue
                if not self._contain(exc, _context_of_callback(exc)):
                    raise
            except Exception as exc:  # callbacks catch theirs: this one is the loop's own
                if not self._restore_attributes(exc):
                    raise

        return run_once_contained

    def _restore_attributes(self, exc: Exception) -> bool:
        """Restore attributes of the loop that have a value of another type; False where there are none."""
        changed = {name: old for name, old in self._attributes.items() if type(self._dict.get(name)) is not type(old)}
        self._dict |= changed
        if changed:
            log.error(
                "the event loop failed: attributes were restored", attributes=sorted(changed), error=safe_str(exc)
            )
        return bool(changed)

    def _contain(self, exc: BaseException, context: contextvars.Context | None) -> bool:
        return not is_from_signal(exc) and any(guard.contains(exc, context) for guard in self.guards)

    def _wrapping(self, method: Callable[..., Any], position: int) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            context: contextvars.Context | None = options.get("context")
            if any(guard.covers(context) for guard in self.guards):
                args = (*args[:position], self._call, *args[position:])
            return method(*args, **options)

        return call

    def _call(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            callback(*args)
        except ENDINGS as exc:
            if not self._contain(exc, contextvars.copy_context()):
                raise

    def _refused(self, name: str, method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if any(guard.refuses(name) for guard in self.guards):
                raise RuntimeError(
                    f"loop.{name}() is refused, because it would affect everything else on this event loop; start a "
                    'loop of your own, for example in a function with runner = "process"'
                )
            return method(*args, **kwargs)

        return call


_guarded: WeakKeyDictionary[asyncio.AbstractEventLoop, GuardedMethods] = WeakKeyDictionary()


def run_guarded(main: Coroutine[Any, Any, T], guard: LoopGuard, task_factory: Any = None) -> T:
    """Run a coroutine like asyncio.run, on a new loop with a guard: only its own end or a signal ends the loop."""
    ending: BaseException | None = None

    async def until_end() -> T | None:
        nonlocal ending
        try:
            return await main
        except ENDINGS as exc:  # asyncio expects these to end the loop, and does not stop it for them
            ending = exc
            return None

    try:
        with asyncio.Runner() as runner:
            runner.get_loop().set_task_factory(task_factory)
            guard.install(runner.get_loop())
            result = runner.run(until_end())
    finally:
        guard.remove()
    if ending is not None:
        raise ending
    return result  # type: ignore[return-value]


def run_protected(main: Coroutine[Any, Any, T]) -> T:
    """Run a program that is a kernel, like asyncio.run: only its own end or a signal ends it, whatever jobs do."""
    return run_guarded(main, LoopGuard(running, _log_stray, is_own_loop=True), protecting_factory)


def _log_stray(_: Any, exc: BaseException) -> None:
    log.error("code outside of runs tried to end the process", error=f"{type_name(exc)}: {safe_str(exc)}")


def raise_from_loop(loop: asyncio.AbstractEventLoop, exc: BaseException) -> None:
    """Raise what a signal handler has raised again where it ends the loop, unless it has left a callback already."""
    if _context_of_callback(exc) is not None:
        return

    def raise_again() -> NoReturn:
        raise exc

    loop.call_soon(raise_again, context=contextvars.Context())


def is_from_signal(exc: BaseException) -> bool:
    """Return whether a signal handler has raised it, as Ctrl-C does, and not the code that was interrupted."""
    if threading.current_thread() is not threading.main_thread():
        return False  # handlers run in the main thread only
    last: TracebackType | None = None
    handlers = signal_handlers()
    for last in _tracebacks(exc):
        if last.tb_frame.f_code in handlers:
            return True
    if not isinstance(exc, KeyboardInterrupt) or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False
    # That handler is C code and leaves no frame: it has raised what no `raise` statement has.
    return last is None or last.tb_frame.f_code.co_code[last.tb_lasti] != dis.opmap["RAISE_VARARGS"]


def _tracebacks(exc: BaseException) -> Iterator[TracebackType]:
    trace = exc.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _context_of_callback(exc: BaseException) -> contextvars.Context | None:
    """Return the context variables of the callback that raised: a step of a task is one, too."""
    for trace in _tracebacks(exc):
        if trace.tb_frame.f_code is events.Handle._run.__code__:  # noqa: SLF001 - asyncio has no other way to know it
            context: contextvars.Context | None = getattr(trace.tb_frame.f_locals.get("self"), "_context", None)
            return context
    return None
