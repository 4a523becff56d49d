"""The program inside a process run. Only the process runner starts it.

The body runs in the main thread, so that SIGTERM can interrupt it. The kernel's messages come over a separate pipe
and are read by a thread. The monitor above this process ends it when the kernel dies.
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
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import structlog

from gnomon.domain.execution import Execution
from gnomon.domain.run_exits import RunCancelled
from gnomon.jobs.body import make_body
from gnomon.jobs.job import Job
from gnomon.jobs.secrets import open_arguments
from gnomon.runners.base import Outcome
from gnomon.runners.body_place import BodyPlace
from gnomon.runners.calls import call_body
from gnomon.runners.child_protocol import (
    Assignment,
    CancelRequest,
    LogRecord,
    MessageToChild,
    MessageToKernel,
    OrderAnswered,
    OrderSent,
    ProgressReport,
    Result,
    Sampled,
    SampleRequest,
    SecretsHidden,
    SecretsRead,
    SignOfLife,
    frames,
    to_child,
)
from gnomon.runners.context import PROGRESS_RATE, Context, entered
from gnomon.runners.log_capture import install_capture
from gnomon.runners.orders import Answer, BodyOrder
from gnomon.runners.outcome import failure_outcome, sent_fields, success_outcome
from gnomon.runners.progress_fields import ProgressFields
from gnomon.runners.remote_orders import OrderAnswer, RemoteOrders
from gnomon.runners.stack_dump import write_on_signal
from gnomon.text import writable

SIGN_OF_LIFE_INTERVAL_S = 1.0
"""Seconds between two signs of life of a body that makes context calls and reports nothing."""


class KernelPipe:
    """The pipe to the kernel, used by all threads of the body; the sink of its context."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._main_is_sending = self._interrupted = False

    def send(self, message: MessageToKernel) -> None:
        """Write a whole message; a signal that arrives meanwhile takes effect afterwards."""
        in_main = threading.current_thread() is threading.main_thread()
        with self._lock:
            self._main_is_sending = in_main
            for frame in frames(message):
                os.write(self._descriptor, frame)
            self._main_is_sending = False
        if in_main and self._interrupted:
            self._interrupted = False
            raise RunCancelled

    def interrupt(self, _signal: int, _frame: Any) -> None:
        """Stop the body where it is; the handler of SIGTERM."""
        if self._main_is_sending:
            self._interrupted = True
        else:
            raise RunCancelled

    def after_fork(self) -> None:
        """Replace the lock, which another thread may have held, and give SIGTERM its usual meaning."""
        self._lock = threading.Lock()
        self._main_is_sending = self._interrupted = False
        if signal.getsignal(signal.SIGTERM) == self.interrupt:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def record_progress(self, execution_id: str, fields: dict[str, Any]) -> None:  # noqa: ARG002 - there is only one
        """Send the fields of a progress event."""
        self.send(ProgressReport(cast(ProgressFields, fields)))

    def order(self, context: Context, order: BodyOrder) -> Answer[Any]:
        """Send an order and wait for its answer."""
        assert isinstance(context, ChildContext)  # noqa: S101 - it is the only context of this process
        return context.orders.carry_out(order)

    def flush_later(self, context: Context) -> None:
        """Flush the context when its rate allows it."""
        timer = threading.Timer(1 / PROGRESS_RATE, context.flush)
        timer.daemon = True
        timer.start()


class ChildContext(Context):
    """A context that sends signs of life and log lines to the kernel."""

    pipe: KernelPipe
    _sent_at = 0.0

    def __init__(self, execution: Execution, pipe: KernelPipe, *, rate: float) -> None:
        super().__init__(execution, pipe, rate=rate)
        self.pipe = pipe
        self.secrets_hidden = threading.Event()
        self.place = BodyPlace(owns_process=True)
        self.orders = RemoteOrders(lambda number, order: pipe.send(OrderSent(number, order)))
        self._process_id = os.getpid()

    def hide(self, *secrets: str) -> None:
        """Hide secrets here, and wait until the kernel does so too: it reads what the body prints."""
        super().hide(*secrets)
        if secrets:
            self.secrets_hidden.clear()
            self.pipe.send(SecretsRead(list(secrets)))
            if os.getpid() == self._process_id:  # the answer reaches only the process that the kernel started
                self.secrets_hidden.wait()

    def checkpoint(self) -> None:
        super().checkpoint()
        if self.last_sign_of_life - self._sent_at >= SIGN_OF_LIFE_INTERVAL_S:
            self._sent_at = self.last_sign_of_life
            self.pipe.send(SignOfLife())

    def log_line(
        self,
        level: str,
        text: str,
        logger: str,
        at: datetime | None = None,
        number: int | None = None,  # noqa: ARG002 - the kernel numbers the lines
    ) -> None:
        text = text if self.mask is None else self.mask.hide(text)
        self.pipe.send(LogRecord(at or datetime.now(UTC), writable(level), writable(text), writable(logger)))


def main() -> None:
    """Run one body and send its result.

    The first arguments are the descriptors of the pipes from and to the kernel, and of the file for dumps, if any.
    """
    reading, writing, *dumps = map(int, filter(None, sys.argv[1:4]))
    sys.argv[1:] = []  # the rest is sys.path; none of it concerns the body
    process_id = os.getpid()
    for descriptor in (reading, writing, *dumps):
        os.set_inheritable(descriptor, False)
    for descriptor in dumps:
        write_on_signal(descriptor)
    messages = _messages(reading)
    assignment = next(messages)
    assert isinstance(assignment, Assignment)  # noqa: S101 - the kernel sends it first
    pipe = KernelPipe(writing)
    os.register_at_fork(after_in_child=pipe.after_fork)
    context = ChildContext(assignment.execution, pipe, rate=assignment.rate)
    signal.signal(signal.SIGTERM, pipe.interrupt)
    threading.Thread(target=_read_messages, args=(messages, context), daemon=True).start()
    result = _run(assignment, context)
    if os.getpid() == process_id:
        pipe.send(result)


def _messages(descriptor: int) -> Iterator[MessageToChild]:
    rest = b""
    while data := os.read(descriptor, 65536):
        *lines, rest = (rest + data).split(b"\n")
        yield from map(to_child.decode, lines)


def _read_messages(messages: Iterator[MessageToChild], context: ChildContext) -> None:
    for message in messages:
        if isinstance(message, CancelRequest):
            context.request_cancel()
        elif isinstance(message, SecretsHidden):
            context.secrets_hidden.set()
        elif isinstance(message, SampleRequest):
            context.pipe.send(Sampled(message.number, context.place.sample()))
        elif isinstance(message, OrderAnswered):
            context.orders.answered(message.number, OrderAnswer(message.result, message.failure))


def _run(assignment: Assignment, context: ChildContext) -> Result:
    process_id = os.getpid()
    started = time.monotonic()
    try:
        _set_limits(assignment)
        _capture_logs(assignment.log_level)
        execution = assignment.execution
        args, kwargs, secrets = open_arguments(execution.args, execution.kwargs)
        context.hide(*secrets)
        body = make_body(Job(id=execution.job_id, func=assignment.func, args=execution.args, kwargs=execution.kwargs))
        started = time.monotonic()
        with entered(context):
            value = call_body(body, args, kwargs, context, partial(_run_on_loop, context.place))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the body has ended: its result must be sent whole
        context.flush()
        outcome = success_outcome(value, time.monotonic() - started, context.mask)
    except BaseException as exc:
        if os.getpid() != process_id:
            raise  # a process that the body forked ends in its own way
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as above
        context.flush()
        outcome = failure_outcome(exc, time.monotonic() - started, context.mask)
    return _result(outcome)


def _result(outcome: Outcome) -> Result:
    return Result(**sent_fields(outcome))


def _run_on_loop(place: BodyPlace, coroutine: Coroutine[Any, Any, Any]) -> Any:
    async def cancellable() -> Any:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio.run made it
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await coroutine

    return place.run(cancellable())


def _set_limits(assignment: Assignment) -> None:
    if assignment.memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (assignment.memory, assignment.memory))
    if assignment.cpu is not None:
        seconds = max(round(assignment.cpu), 1)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))  # SIGXCPU, a second later SIGKILL


def _capture_logs(level: int) -> None:
    install_capture()
    root = logging.getLogger()
    root.setLevel(level)
    root.addHandler(logging.NullHandler())  # else warnings would go to standard error as well, and be kept twice
    structlog.configure(processors=[_drop])


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent
