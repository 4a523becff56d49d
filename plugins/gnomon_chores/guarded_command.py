"""The parent's side of `guard.py`: start a command under its guard, wait for it, end it."""

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

from gnomon_chores.command_output import CommandOutput
from gnomon_chores.errors import CommandNotStarted, GuardLost

GUARD = Path(__file__).resolve().with_name("guard.py")
GUARD_MARGIN_S = 5.0  # beyond the grace, for a machine that is busy
GUARD_EXIT_S = 1.0
OUTPUT_LINGER_S = 1.0  # a daemon that left the group may hold the output open for ever


@asynccontextmanager
async def guarded(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: str | None,
    grace: float,
    stdout: CommandOutput,
    stderr: CommandOutput,
) -> AsyncIterator["GuardedCommand"]:
    """Start the command; when the block is left, however that happens, it and its process group are ended.

    To end is SIGTERM for the group, then SIGKILL after `grace` seconds. Leaving waits for that; a cancel during this
    wait kills at once. When this process itself dies, its guard does the same.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            ours.setblocking(False)
            # Popen and not asyncio's subprocess: the transport of the latter kills the guard (not the command) when it
            # is collected, and whether its wait() also waits for the pipes changed between 3.11, 3.12 and 3.13.
            process = subprocess.Popen(  # noqa: ASYNC220 - asyncio makes the same call on the loop
                [sys.executable, "-I", "-S", str(GUARD), str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=folder,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C in the kernel's terminal is the kernel's business
            )
        command = GuardedCommand(argv[0], environment.get("PATH"), process, ours, grace)
        try:
            await command.read_into(stdout, stderr)
            await command.give(order(argv, environment, grace))
            yield command
        finally:
            await command.end()


def order(argv: Sequence[str], environment: Mapping[str, str], grace: float) -> bytes:
    """Return what guard.py's `read_order` reads."""
    assignments = [os.fsencode(name) + b"=" + os.fsencode(value) for name, value in environment.items()]
    body = b"\0".join([str(grace).encode(), str(len(argv)).encode(), *map(os.fsencode, argv), *assignments])
    return len(body).to_bytes(8, "big") + body


class GuardedCommand:
    """A command that runs under its guard. Made by `guarded`."""

    def __init__(
        self, name: str, path: str | None, process: subprocess.Popen[bytes], channel: socket.socket, grace: float
    ) -> None:
        self._name, self._path = name, path
        self._process, self._channel, self._grace = process, channel, grace
        self._report = b""
        self._pipes: list[tuple[asyncio.ReadTransport, CommandOutput]] = []

    async def read_into(self, stdout: CommandOutput, stderr: CommandOutput) -> None:
        """Let the command's output flow into these."""
        await self._read(self._process.stdout, stdout)
        await self._read(self._process.stderr, stderr)

    async def _read(self, pipe: IO[bytes] | None, output: CommandOutput) -> None:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: output, pipe)
        self._pipes.append((transport, output))

    async def give(self, command: bytes) -> None:
        """Send the order. The guard waits for all of it, so a cancel on the way leaves nothing running."""
        with suppress(ConnectionError):  # a guard that is gone is found out by exit_code()
            await asyncio.get_running_loop().sock_sendall(self._channel, command)

    async def exit_code(self) -> int:
        """Wait until nothing of the command is left and return its exit code, or minus the signal that ended it.

        Raises CommandNotStarted, and GuardLost when the guard was killed.
        """
        await self._guard_ended()
        said = self._said()
        if "refused" in said:
            raise CommandNotStarted(self._name, said["refused"], self._path)
        if "ended" not in said:
            raise GuardLost(self._name, f"ended early ({self._process.returncode})")
        return self._process.wait()

    async def end(self) -> None:
        """End the command and its group, then take in the rest of its output. It may have ended already."""
        try:
            with suppress(OSError):
                self._channel.shutdown(socket.SHUT_WR)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._grace + GUARD_MARGIN_S):
                    await self._guard_ended()
            self._kill_what_is_left()
            await self._outputs_closed()
        finally:
            self._kill_what_is_left()
            for transport, _ in self._pipes:
                transport.close()
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()  # a cancel may have come before it had a transport

    async def _guard_ended(self) -> None:
        loop = asyncio.get_running_loop()
        with suppress(ConnectionResetError):  # it ended with words of ours unread
            while said := await loop.sock_recv(self._channel, 4096):
                self._report += said
        self._process.wait()  # its last descriptor is closed: it is all but gone

    def _said(self) -> dict[str, int]:
        lines = (line.split() for line in self._report.decode().splitlines())
        return {word: int(number[0]) if number else 0 for word, *number in lines}

    def _kill_what_is_left(self) -> None:
        """Kill the group of a guard that could not: it was killed, it hangs, or nobody wants to wait for the grace."""
        give_up_at = time.monotonic() + GUARD_EXIT_S
        while self._process.poll() is None and time.monotonic() < give_up_at:
            self._kill_group()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)  # with its command killed a guard leaves in milliseconds, and has reaped it
        self._process.kill()
        self._process.wait()
        self._kill_group()

    def _kill_group(self) -> None:
        with suppress(OSError):  # all is read, or the channel is gone
            self._report += self._channel.recv(4096)
        said = self._said()
        if "started" in said and not {"ended", "refused"} & said.keys():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(said["started"], signal.SIGKILL)

    async def _outputs_closed(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(OUTPUT_LINGER_S):
                for _, output in self._pipes:
                    await output.closed.wait()
