"""Start a child process under a monitor (`monitor.py`), wait for it, end it.

The monitor ends the child and its process group on request, and when this process dies, even by SIGKILL. A
thread or a pipe inside the child could not do that: the child may be any program, may hold the interpreter's lock, and
a process that this one has forked keeps every pipe open.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from gnomon.errors import GnomonError
from gnomon.subprocesses.lines import LineReader

MONITOR = Path(__file__).resolve().with_name("monitor.py")
MONITOR_MARGIN_S = 5.0  # beyond the grace, for a busy machine
MONITOR_EXIT_S = 1.0
OUTPUT_LINGER_S = 1.0  # a daemon that left the group may hold the output open for ever


class MonitorLostError(GnomonError):
    """The monitor of a child process ended or hung before it reported the end of the child; the child was killed."""

    def __init__(self, found: str) -> None:
        super().__init__(f"the monitor of the process {found}, expected it to report the end of the process")
        self.found = found


class Command(msgspec.Struct, frozen=True):
    """What to run and how it is ended. Graces are seconds between SIGTERM and SIGKILL.

    `grace` applies when the child is asked to stop; then the leader gets the SIGTERM, or with `whole_group` its whole
    process group. `cleanup_grace` applies to what is left when the child has ended or this process has died. The child
    inherits the descriptors `pass_fds`.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    grace: float
    cleanup_grace: float
    whole_group: bool = True
    folder: str | None = None
    pass_fds: tuple[int, ...] = ()

    def encoded(self) -> bytes:
        """Return what `read_order` of monitor.py reads."""
        numbers = (self.grace, self.cleanup_grace, int(self.whole_group), len(self.argv))
        assignments = [os.fsencode(name) + b"=" + os.fsencode(value) for name, value in self.environment.items()]
        body = b"\0".join([*(str(number).encode() for number in numbers), *map(os.fsencode, self.argv), *assignments])
        return len(body).to_bytes(8, "big") + body


@asynccontextmanager
async def monitored(command: Command, stdout: LineReader, stderr: LineReader) -> AsyncIterator[MonitoredProcess]:
    """Start a child; when the block is left, for whatever reason, it and its process group are ended.

    Leaving waits until they are gone; a cancellation during this wait kills at once. Raises OSError if the monitor
    cannot be started.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            ours.setblocking(False)
            # Popen, not asyncio's subprocess: the transport of the latter kills the monitor (not the child) when it is
            # collected, and whether its wait() also waits for the pipes changed between 3.11, 3.12 and 3.13.
            process = subprocess.Popen(  # noqa: ASYNC220 - asyncio makes the same call on the loop
                [sys.executable, "-I", "-S", str(MONITOR), str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=command.folder,
                pass_fds=[theirs.fileno(), *command.pass_fds],
                start_new_session=True,  # Ctrl-C in the terminal is this process's business
            )
        child = MonitoredProcess(process, ours, command.grace)
        try:
            await child.connect_output(stdout, stderr)
            await child.send_order(command.encoded())
            yield child
        finally:
            await child.close()


class MonitoredProcess:
    """A child that runs under its monitor. Made by `monitored`."""

    def __init__(self, monitor: subprocess.Popen[bytes], channel: socket.socket, grace: float) -> None:
        self._monitor, self._channel, self._grace = monitor, channel, grace
        self._is_ordered = False
        self._reports = b""
        self._pipes: list[tuple[asyncio.ReadTransport, LineReader]] = []

    @property
    def pid(self) -> int | None:
        """The process id of the child; None until the monitor has reported it, at the latest with its end."""
        return self._reported().get("started")

    async def connect_output(self, stdout: LineReader, stderr: LineReader) -> None:
        """Read the child's output into these."""
        await self._connect(self._monitor.stdout, stdout)
        await self._connect(self._monitor.stderr, stderr)

    async def _connect(self, pipe: IO[bytes] | None, output: LineReader) -> None:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: output, pipe)
        self._pipes.append((transport, output))

    async def send_order(self, order: bytes) -> None:
        """Send the order. The monitor waits for all of it, so a cancellation on the way leaves nothing running."""
        with suppress(ConnectionError):  # exit_code() finds out that the monitor is gone
            await asyncio.get_running_loop().sock_sendall(self._channel, order)
        self._is_ordered = True

    async def exit_code(self) -> int:
        """Wait until nothing of the child is left and return its exit code, or minus the signal that ended it.

        Raises OSError if the child could not be started, MonitorLostError if the monitor was killed.
        """
        await self._monitor_ended()
        reported = self._reported()
        if "refused" in reported:
            raise OSError(reported["refused"], os.strerror(reported["refused"]))
        if "ended" not in reported:
            raise MonitorLostError(f"ended early ({self._monitor.returncode})")
        return self._monitor.wait()

    def terminate(self) -> None:
        """Send SIGTERM, and SIGKILL after the grace; returns at once."""
        with suppress(OSError):  # the monitor is gone
            if self._is_ordered:
                self._channel.send(b"terminate\n")
            else:
                self._channel.shutdown(socket.SHUT_WR)  # half an order: the monitor starts nothing

    def kill(self) -> None:
        """Send SIGKILL to the child's group; returns at once. Does nothing if the child has not started."""
        with suppress(OSError):  # all is read, or the channel is gone
            self._reports += self._channel.recv(4096)
        reported = self._reported()
        if "started" in reported and not {"ended", "refused"} & reported.keys():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(reported["started"], signal.SIGKILL)

    async def close(self) -> None:
        """End the child and its group, then read the rest of its output. It may have ended already."""
        try:
            self.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._grace + MONITOR_MARGIN_S):
                    await self._monitor_ended()
            self._kill_remains()
            await self._output_closed()
        finally:
            self._kill_remains()
            for transport, _ in self._pipes:
                transport.close()
            for pipe in (self._monitor.stdout, self._monitor.stderr):
                if pipe is not None:
                    pipe.close()  # a cancellation may have come before it had a transport

    async def _monitor_ended(self) -> None:
        loop = asyncio.get_running_loop()
        with suppress(ConnectionResetError):  # it ended with bytes of ours unread
            # Not only until the channel ends: a process that was forked at the wrong moment may keep it open.
            while not self._reported().keys() & {"ended", "refused"}:
                data = await loop.sock_recv(self._channel, 4096)
                if not data:
                    break
                self._reports += data
        self._monitor.wait()  # it is about to exit

    def _reported(self) -> dict[str, int]:
        lines = (line.split() for line in self._reports.decode().splitlines())
        return {word: int(number[0]) if number else 0 for word, *number in lines}

    def _kill_remains(self) -> None:
        """Kill the group of a monitor that could not: it was killed, it hangs, or the grace is cut short."""
        give_up_at = time.monotonic() + MONITOR_EXIT_S
        while self._monitor.poll() is None and time.monotonic() < give_up_at:
            self.kill()
            with suppress(subprocess.TimeoutExpired):
                self._monitor.wait(0.05)  # with its child killed a monitor exits in milliseconds, and has reaped it
        self._monitor.kill()
        self._monitor.wait()
        self.kill()

    async def _output_closed(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(OUTPUT_LINGER_S):
                for _, output in self._pipes:
                    await output.closed.wait()
