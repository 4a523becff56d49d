"""The inside of a process run: `python -m gnomon.runners.child FD`, started by the process runner and by nobody else.

The body runs in the main thread, so that SIGTERM can interrupt it. Standard input is the leash: orders come over it,
and when it ends the kernel is gone; then the whole process group is killed, so that nothing is left behind.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

import structlog

from gnomon.domain.execution import Execution
from gnomon.errors import RunCancelled
from gnomon.jobs.body import Body, make_body
from gnomon.jobs.job import Job
from gnomon.runners import child_protocol as wire
from gnomon.runners.context import Context, entered
from gnomon.runners.log_capture import CapturingHandler, capture_event
from gnomon.runners.outcome import failure_outcome, success_outcome

ALIVE_EVERY = 1.0
"""Seconds between two signs of life of a body that makes context calls and tells nothing."""


class Pipe:
    """The way to the kernel, used by all threads of the body: the sink of its context."""

    def __init__(self, descriptor: int) -> None:
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=0)
        self._lock = threading.Lock()
        self._sends_in_main = self._interrupted = False

    def send(self, message: Any) -> None:
        """Write one message whole: a signal in the middle of it has its effect afterwards."""
        data = memoryview(wire.line(message))
        in_main = threading.current_thread() is threading.main_thread()
        with self._lock:
            self._sends_in_main = in_main
            while data:
                data = data[self._file.write(data) or 0 :]
            self._sends_in_main = False
        if in_main and self._interrupted:
            self._interrupted = False
            raise RunCancelled

    def interrupt(self, _signal: int, _frame: Any) -> None:
        """Stop the body where it is; the handler of SIGTERM."""
        if self._sends_in_main:
            self._interrupted = True
        else:
            raise RunCancelled

    def record_progress(self, execution_id: str, told: dict[str, Any]) -> None:  # noqa: ARG002 - there is only one
        """Send the fields of a progress event."""
        self.send(wire.Told(cast(wire.ProgressFields, told)))

    def flush_later(self, context: Context) -> None:
        """Flush the context when its rate allows it."""
        timer = threading.Timer(0.25, context.flush)
        timer.daemon = True
        timer.start()


class ChildContext(Context):
    """A context whose mere calls are signs of life for the kernel too, and whose lines go over the pipe."""

    pipe: Pipe
    _alive_at = 0.0

    def checkpoint(self) -> None:
        super().checkpoint()
        if self.last_sign_of_life - self._alive_at >= ALIVE_EVERY:
            self._alive_at = self.last_sign_of_life
            self.pipe.send(wire.Alive())

    def log_line(self, level: str, text: str, logger: str, at: datetime | None = None) -> None:
        self.pipe.send(wire.Logged(at or datetime.now(UTC), level, text, logger))


def main() -> None:
    """Run one body and tell how it ended."""
    pipe = Pipe(int(sys.argv[1]))
    orders = _orders()
    assignment = next(orders)
    assert isinstance(assignment, wire.Assignment)  # noqa: S101 - the kernel sends it first
    context = ChildContext(assignment.execution, pipe, rate=assignment.rate)
    context.pipe = pipe
    signal.signal(signal.SIGTERM, pipe.interrupt)
    threading.Thread(target=_hold_leash, args=(orders, context), daemon=True).start()
    pipe.send(_run(assignment, context))


def _orders() -> Iterator[wire.ToChild]:
    """Read the kernel's lines. Not through sys.stdin: a thread inside its lock makes the interpreter's exit abort."""
    left = b""
    while data := os.read(0, 65536):
        *lines, left = (left + data).split(b"\n")
        yield from map(wire.to_child.decode, lines)


def _hold_leash(orders: Iterator[wire.ToChild], context: Context) -> None:
    for order in orders:
        if isinstance(order, wire.CancelOrder):
            context.request_cancel()
    os.killpg(0, signal.SIGKILL)


def _run(assignment: wire.Assignment, context: Context) -> wire.Ended:
    started = time.monotonic()
    try:
        _limit(assignment)
        sys.path[:] = assignment.path
        _capture_logs(assignment.log_level)
        execution = assignment.execution
        body = make_body(Job(id=execution.job_id, func=assignment.func, args=execution.args, kwargs=execution.kwargs))
        started = time.monotonic()
        with entered(context):
            value = _call(body, execution, context)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it has ended: the end must be told whole
        context.flush()
        outcome = success_outcome(value, time.monotonic() - started)
    except BaseException as exc:  # noqa: BLE001 - a body may raise anything, SystemExit too: it is the run that ends
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as above
        context.flush()
        outcome = failure_outcome(exc, time.monotonic() - started)
    return wire.Ended(
        execution_time=outcome.execution_time,
        value=outcome.value,
        error_type=outcome.error_type,
        error_message=outcome.error_message,
        traceback=outcome.traceback,
        cancelled=outcome.cancelled,
    )


def _call(body: Body, execution: Execution, context: Context) -> Any:
    args, kwargs = body.arguments(execution.args, execution.kwargs, context, force=execution.force)
    if not body.is_async:
        return body.func(*args, **kwargs)
    return asyncio.run(_cancellable(body.func, args, kwargs))


async def _cancellable(func: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - asyncio.run made it
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await func(*args, **kwargs)


def _limit(assignment: wire.Assignment) -> None:
    if assignment.memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (assignment.memory, assignment.memory))
    if assignment.cpu is not None:
        seconds = max(round(assignment.cpu), 1)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))  # SIGXCPU, a second later SIGKILL


def _capture_logs(level: int) -> None:
    root = logging.getLogger()
    root.setLevel(level)
    root.addHandler(CapturingHandler())
    structlog.configure(processors=[capture_event, _drop])


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent


if __name__ == "__main__":
    main()
