"""Bodies in a child interpreter each: isolated, limited, and killable whatever they do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections import deque

import msgspec
import structlog

from gnomon.errors import JobError
from gnomon.jobs.callables import reference
from gnomon.ports import Clock
from gnomon.runners import child_protocol as wire
from gnomon.runners.base import Outcome, Run, Runner
from gnomon.runners.context import PROGRESS_RATE
from gnomon.runners.outcome import failure_outcome

log = structlog.stdlib.get_logger("gnomon.process")

LINE_LIMIT = 4 * 1024 * 1024
"""Bytes of the longest line that a child may send: a bounded traceback and value, all characters escaped."""
STDERR_TAIL = 20
"""Lines of standard error that are shown of a process that died."""
EXIT_LIMIT = 5.0
"""Seconds that a child may take to exit after it has told its end, before it is killed."""


class Child(msgspec.Struct, eq=False):
    """A running child."""

    process: asyncio.subprocess.Process
    grace: float
    stderr: deque[str] = msgspec.field(default_factory=lambda: deque(maxlen=STDERR_TAIL))
    ended: wire.Ended | None = None
    is_cancelled: bool = False
    killer: asyncio.Task[None] | None = None


class ProcessRunner(Runner):
    """Starts `python -m gnomon.runners.child` for each run, in a process group of its own.

    A cancelled body is told over the pipe, gets SIGTERM, and SIGKILL after its grace. When the kernel dies, the pipe
    ends and the child kills its group. Costs some 150 ms a run: for long bodies and those that may not be trusted.
    """

    name = "process"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._children: dict[str, Child] = {}

    async def run(self, run: Run) -> Outcome:
        started = self._clock.monotonic()
        try:
            first = wire.line(_assignment(run))
            reading, writing = os.pipe()
            try:
                process = await _spawn(writing)
            finally:
                os.close(writing)
            messages = await _reader(reading)
        except (OSError, JobError, TypeError) as exc:
            return failure_outcome(exc, 0.0)
        child = self._children[run.execution.id] = Child(process, run.cancel_grace)
        if run.context.cancel_requested:  # while it was being born
            self.cancel(run.execution.id)
        try:
            return await self._accompany(run, child, messages, first, started)
        finally:
            del self._children[run.execution.id]
            if child.killer is not None:
                child.killer.cancel()
            _kill(process)

    def cancel(self, execution_id: str) -> None:
        child = self._children.get(execution_id)
        if child is None or child.is_cancelled:
            return
        child.is_cancelled = True
        child.killer = asyncio.get_running_loop().create_task(self._terminate(child))

    async def _terminate(self, child: Child) -> None:
        _send(child.process, wire.CancelOrder())
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(signal.SIGTERM)
        await self._clock.sleep(child.grace)
        _kill(child.process)

    async def _accompany(
        self, run: Run, child: Child, messages: asyncio.StreamReader, first: bytes, started: float
    ) -> Outcome:
        """Listen to a child until it is gone, and say how its body ended."""
        process = child.process
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # noqa: S101, PT018
        process.stdin.write(first)
        loop = asyncio.get_running_loop()
        listening = [
            loop.create_task(self._listen(messages, run, child)),
            loop.create_task(_lines(process.stdout, run, "stdout", None)),
            loop.create_task(_lines(process.stderr, run, "stderr", child.stderr)),
        ]
        await _gone(process, listening[0])
        _kill(process)  # what it started and left behind in its group holds our pipes open
        _, deaf = await asyncio.wait(listening, timeout=EXIT_LIMIT)
        for task in deaf:
            task.cancel()  # something in another group holds them: it is not this run any more
        if child.ended is not None:
            return _outcome(child.ended)
        return _death(child, self._clock.monotonic() - started)

    async def _listen(self, messages: asyncio.StreamReader, run: Run, child: Child) -> None:
        async for data in messages:
            try:
                message = wire.to_kernel.decode(data)
            except msgspec.DecodeError as exc:
                log.warning("a child said what nobody understands", job=run.execution.job_id, problem=str(exc))
                continue
            if isinstance(message, wire.Told):
                run.context.report(
                    {**message.fields}, immediately="step" in message.fields or "steps" in message.fields
                )
            elif isinstance(message, wire.Alive):
                run.context.report({})
            elif isinstance(message, wire.Logged):
                run.context.log_line(message.level, message.text, message.logger, message.at)
            else:
                child.ended = message
                child.killer = child.killer or asyncio.get_running_loop().create_task(_kill_later(child.process))


async def _gone(process: asyncio.subprocess.Process, listening: asyncio.Task[None]) -> None:
    """Wait until a child has exited. `process.wait()` waits for its pipes too, which its own children may hold open."""
    waiting = asyncio.ensure_future(process.wait())
    await asyncio.wait((waiting, listening), return_when=asyncio.FIRST_COMPLETED)
    while process.returncode is None and not waiting.done():  # noqa: ASYNC110 - there is no event of it
        await asyncio.sleep(0.005)  # its end of the pipe is closed: it exits now, or is killed by _kill_later
    waiting.cancel()


async def _spawn(writing: int) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gnomon.runners.child",
        str(writing),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        pass_fds=(writing,),
        start_new_session=True,
        limit=LINE_LIMIT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONUNBUFFERED": "1"},
    )


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    return reader


def _assignment(run: Run) -> wire.Assignment:
    target = reference(run.body.func)
    module, _, name = target.partition(":")
    if module == "__main__" or "<" in name:
        raise JobError(
            f"job {run.execution.job_id!r}: a child process cannot import {target}; move the function to the top of a "
            "module"
        )
    limits = run.limits
    return wire.Assignment(
        execution=run.execution,
        func=target,
        path=sys.path,
        rate=PROGRESS_RATE,
        memory=limits.memory if limits is not None else None,
        cpu=limits.cpu.total_seconds() if limits is not None and limits.cpu is not None else None,
        log_level=min(logging.getLogger().getEffectiveLevel(), logging.INFO),
    )


async def _lines(stream: asyncio.StreamReader, run: Run, level: str, tail: deque[str] | None) -> None:
    """Keep what a body prints as log lines of its run."""
    while True:
        try:
            data = await stream.readline()
        except ValueError:  # a line beyond the limit: asyncio has dropped it from its buffer
            data = b"(a line longer than the kernel reads was dropped)\n"
        if not data:
            return
        text = data.decode(errors="replace").rstrip("\r\n")
        if tail is not None:
            tail.append(text)
        run.context.log_line(level, text, level)


def _send(process: asyncio.subprocess.Process, message: msgspec.Struct) -> None:
    if process.stdin is not None and not process.stdin.is_closing():
        process.stdin.write(wire.line(message))


async def _kill_later(process: asyncio.subprocess.Process) -> None:
    await asyncio.sleep(EXIT_LIMIT)  # real time: the interpreter's exit does not know of virtual clocks
    _kill(process)


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _outcome(ended: wire.Ended) -> Outcome:
    return Outcome(
        ended.execution_time,
        value=ended.value,
        error_type=ended.error_type,
        error_message=ended.error_message,
        traceback=ended.traceback,
        cancelled=ended.cancelled,
    )


def _death(child: Child, seconds: float) -> Outcome:
    """Tell of a process that ended without a word: by which signal or code, and what it said last."""
    code = child.process.returncode or 0
    how = f"was killed by {_signal_name(-code)}" if code < 0 else f"exited with code {code} before its body ended"
    last = "\n".join(child.stderr)
    return Outcome(
        seconds,
        error_type="ProcessDied",
        error_message=f"the process (pid {child.process.pid}) {how}" + (f"; its last lines:\n{last}" if last else ""),
        cancelled=child.is_cancelled,
        killed=code < 0,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
