"""Bodies in a child interpreter each: isolated, limited, and killable whatever they do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections import deque
from functools import partial
from typing import BinaryIO

import msgspec

from gnomon.domain.body_sample import BodySample
from gnomon.jobs.job import Job
from gnomon.logs import get_logger
from gnomon.ports import Clock
from gnomon.runners.base import Outcome, Run, Runner
from gnomon.runners.child_protocol import (
    Assignment,
    CancelRequest,
    FrameDecoder,
    LogRecord,
    OrderAnswered,
    OrderSent,
    ProgressReport,
    Result,
    Sampled,
    SecretsHidden,
    SecretsRead,
    SignOfLife,
    encode_to_child,
)
from gnomon.runners.child_samples import ChildSamples
from gnomon.runners.context import PROGRESS_RATE
from gnomon.runners.orders import OrderFailure
from gnomon.runners.outcome import failure_outcome, sent_fields
from gnomon.runners.stack_dump import StackDump
from gnomon.subprocesses.lines import LineReader
from gnomon.subprocesses.monitored import OUTPUT_LINGER_S, Command, MonitoredProcess, MonitorLostError, monitored
from gnomon.tasks import protected

log = get_logger("gnomon.process")

LINE_LIMIT = 1024 * 1024
"""Bytes of output that are read as one line."""
STDERR_TAIL = 20
"""Lines of standard error that are shown for a process that died."""
EXIT_TIMEOUT_S = 5.0
"""How long a child may take to exit after it has sent its result, before it is killed."""

PROGRAM = "import sys; sys.path[:] = sys.argv[4:]; from gnomon.runners.child import main; main()"
"""Not `-m`: that finds gnomon only by a PYTHONPATH, which every Python that the body starts would inherit."""


class Child(msgspec.Struct, eq=False):
    """A running child process, and what it has sent so far."""

    process: MonitoredProcess
    requests: asyncio.WriteTransport
    samples: ChildSamples
    result: Result | None = None
    is_cancelled: bool = False
    exit_timer: asyncio.TimerHandle | None = None
    answering: set[asyncio.Task[None]] = msgspec.field(default_factory=set)


class ProcessRunner(Runner):
    """Starts a child interpreter for each run, under a monitor and in a process group of its own.

    A cancelled body gets a message and SIGTERM, and SIGKILL after its grace. When the kernel dies, the monitor kills
    the group. A run costs about 150 ms: use this for long bodies and for those that must be stoppable.
    """

    name = "process"
    enforces_limits = True

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._children: dict[str, Child] = {}

    async def run(self, run: Run) -> Outcome:
        started = self._clock.monotonic()
        try:
            return await self._run_child(run, started)
        except OSError as exc:
            return failure_outcome(exc, 0.0)

    def cancel(self, execution_id: str) -> None:
        """Send a cancel request and SIGTERM; the monitor sends SIGKILL after the grace."""
        child = self._children.get(execution_id)
        if child is not None and not child.is_cancelled:
            child.is_cancelled = True
            child.requests.write(encode_to_child(CancelRequest()))
            child.process.terminate()

    async def sample(self, execution_id: str) -> BodySample | None:
        """Return the answer of the child, in which another thread gives it."""
        child = self._children.get(execution_id)
        return None if child is None or child.result is not None else await child.samples.take()

    async def _run_child(self, run: Run, started: float) -> Outcome:
        assignment = encode_to_child(_assignment(run))
        stderr: deque[str] = deque(maxlen=STDERR_TAIL)
        output = LineReader(partial(_keep_output, run, "stdout", None), LINE_LIMIT)
        errors = LineReader(partial(_keep_output, run, "stderr", stderr), LINE_LIMIT)
        async with contextlib.AsyncExitStack() as stack:
            from_kernel, to_child = (stack.enter_context(end) for end in _pipe())
            from_child, to_kernel = (stack.enter_context(end) for end in _pipe())
            dump = stack.enter_context(contextlib.closing(StackDump()))
            command = _command(run, from_kernel.fileno(), to_kernel.fileno(), dump.descriptor)
            process = await stack.enter_async_context(monitored(command, output, errors))
            from_kernel.close()
            to_kernel.close()
            requests, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, to_child)
            stack.callback(requests.close)
            child = self._children[run.execution.id] = Child(process, requests, ChildSamples(requests, process, dump))
            stack.callback(self._children.pop, run.execution.id)
            requests.write(assignment)
            if run.context.cancel_requested:  # while it was being started
                self.cancel(run.execution.id)
            exit_code = await self._follow(run, child, from_child)
        # Not before: the last lines of output are read when the monitor's block is left.
        seconds = self._clock.monotonic() - started
        return _death(child, exit_code, stderr, seconds) if child.result is None else _outcome(child.result)

    async def _follow(self, run: Run, child: Child, pipe: BinaryIO) -> int | MonitorLostError:
        """Receive the messages of a child until it has exited; return its exit code."""
        loop = asyncio.get_running_loop()
        messages = LineReader(partial(_receive, run, child, FrameDecoder()), LINE_LIMIT)
        transport, _ = await loop.connect_read_pipe(lambda: messages, pipe)
        try:
            exit_code = await child.process.exit_code()
            with contextlib.suppress(TimeoutError):  # a process in another group keeps the pipe open
                async with asyncio.timeout(OUTPUT_LINGER_S):
                    await messages.closed.wait()
        except MonitorLostError as exc:
            return exc
        except BaseException:
            child.process.kill()  # the kernel does not wait any longer
            raise
        finally:
            transport.close()
            if child.exit_timer is not None:
                child.exit_timer.cancel()
        return exit_code


def _pipe() -> tuple[BinaryIO, BinaryIO]:
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb", buffering=0), os.fdopen(writing, "wb", buffering=0)


def _command(run: Run, reading: int, writing: int, dump: int | None) -> Command:
    descriptors = [str(reading), str(writing), "" if dump is None else str(dump)]
    return Command(
        [sys.executable, "-u", "-c", PROGRAM, *descriptors, *sys.path],
        environment=os.environ,
        grace=run.cancel_grace,
        cleanup_grace=0.0,
        whole_group=False,
        pass_fds=(reading, writing) if dump is None else (reading, writing, dump),
    )


def _assignment(run: Run) -> Assignment:
    limits = run.limits
    assert run.body.child_target is not None  # noqa: S101 - it is found when a job with this runner is registered
    return Assignment(
        execution=run.execution,
        func=run.body.child_target,
        rate=PROGRESS_RATE,
        memory=limits.memory if limits is not None else None,
        cpu=limits.cpu.total_seconds() if limits is not None and limits.cpu is not None else None,
        log_level=min(logging.getLogger().getEffectiveLevel(), logging.INFO),
    )


def _keep_output(run: Run, stream: str, tail: deque[str] | None, line: bytes) -> None:
    """Keep a line that a body prints as a log line of its run."""
    text = line.decode(errors="replace").rstrip("\r")
    if tail is not None:
        tail.append(text if run.context.mask is None else run.context.mask.hide(text))
    run.context.log_line(stream, text, stream)


def _receive(run: Run, child: Child, decoder: FrameDecoder, frame: bytes) -> None:
    try:
        message = decoder.feed(frame)
    except ValueError as exc:
        log.warning("unreadable message from the child process", job=run.execution.job_id, problem=str(exc))
        return
    if isinstance(message, ProgressReport):
        fields = {**message.fields}
        run.context.report(fields, immediately="step" in fields or "steps" in fields)
    elif isinstance(message, SignOfLife):
        run.context.report({})
    elif isinstance(message, LogRecord):
        run.context.log_line(message.level, message.text, message.logger, message.at)
    elif isinstance(message, SecretsRead):
        run.context.hide(*message.secrets)
        child.requests.write(encode_to_child(SecretsHidden()))
    elif isinstance(message, OrderSent):
        _carry_out(run, child, message)
    elif isinstance(message, Sampled):
        child.samples.answered(message)
    elif message is not None and child.result is None:
        child.result = message
        # Real time: the exit of an interpreter does not follow a virtual clock.
        child.exit_timer = asyncio.get_running_loop().call_later(EXIT_TIMEOUT_S, child.process.kill)


def _carry_out(run: Run, child: Child, message: OrderSent) -> None:
    """Carry out an order of the body, and answer when the kernel has done so."""

    async def answer() -> None:
        try:
            result = await run.context.give(message.order)
            answered = OrderAnswered(message.number, result.definition() if isinstance(result, Job) else result)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the body waits for an answer
            answered = OrderAnswered(message.number, failure=OrderFailure.of(exc))
        with contextlib.suppress(ValueError, OSError):  # the child is gone
            child.requests.write(encode_to_child(answered))

    child.answering.add(task := protected(answer(), "order of a process body"))
    task.add_done_callback(child.answering.discard)


def _outcome(result: Result) -> Outcome:
    return Outcome(**sent_fields(result))


def _death(child: Child, exit_code: int | MonitorLostError, stderr: deque[str], seconds: float) -> Outcome:
    """Return the outcome of a process that sent no result: the signal or exit code, and its last lines."""
    if isinstance(exit_code, MonitorLostError):
        is_killed, how = True, f"was killed: {exit_code}"
    else:
        is_killed = exit_code < 0
        by_signal, by_itself = f"was killed by {_signal_name(-exit_code)}", f"exited with code {exit_code}"
        how = by_signal if is_killed else f"{by_itself} before its body ended"
    last = "\n".join(stderr)
    return Outcome(
        seconds,
        error_type="ProcessDied",
        error_message=f"the process (pid {child.process.pid}) {how}" + (f"; its last lines:\n{last}" if last else ""),
        cancelled=child.is_cancelled,
        killed=is_killed,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
