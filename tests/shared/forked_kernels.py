"""Kernels that follow each other on one log, each forked from a process that has imported everything.

Usage: python forked_kernels.py MODULE ARGUMENT..., where MODULE is one of this folder that has `lead(*arguments)`: it
runs a kernel until the process is killed, and prints "leads" when the kernel does.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


class ForkedKernels:
    """Kernels of which one runs at a time, with the arguments of `lead`; `errors` is the file of their messages."""

    def __init__(self, module: str, *arguments: str, errors: Path) -> None:
        self._errors = errors.open("w+")
        self._launcher = subprocess.Popen(
            [sys.executable, __file__, module, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip
        self._kernel = self._read_errors = 0
        self._leads = False

    async def start(self) -> None:
        """Start the next kernel, and do not wait until it leads."""
        self._say("start")
        self._kernel, self._leads = int(await self._line()), False

    async def lead(self) -> None:
        """Wait until the kernel has begun to lead; start it again where the server was killed while it started."""
        while not self._leads:
            self._leads = (line := await self._line()) == "leads"
            if line.startswith("ended"):
                self._errors.seek(self._read_errors)
                errors = self._errors.read()
                self._read_errors = self._errors.tell()
                assert "StoreUnavailableError" in errors, errors
                self._say("forget")
                await self.start()

    async def kill(self) -> None:
        """Kill the kernel, and wait until it has ended."""
        os.kill(self._kernel, signal.SIGKILL)
        while not (await self._line()).startswith("ended"):
            pass
        self._say("forget")

    def _say(self, word: str) -> None:
        assert self._launcher.stdin is not None
        self._launcher.stdin.write(f"{word}\n")
        self._launcher.stdin.flush()

    async def _line(self) -> str:
        assert self._launcher.stdout is not None
        line = await asyncio.to_thread(self._launcher.stdout.readline)
        self._errors.seek(0)
        assert line, self._errors.read()
        return line.strip()

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._kernel, signal.SIGKILL)
        self._launcher.kill()
        self._launcher.wait()
        for pipe in (self._launcher.stdin, self._launcher.stdout, self._errors):
            assert pipe is not None
            pipe.close()


def main(module: str, *arguments: str) -> None:
    """Start a kernel for each line "start" of the standard input, and forget it after a line that follows its end."""
    lead = importlib.import_module(module).lead
    for _ in sys.stdin:
        if (child := os.fork()) == 0:
            asyncio.run(lead(*arguments))
            os._exit(1)
        print(child, flush=True)
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        print("ended by", ended.si_status, flush=True)
        next(sys.stdin)  # until then no other process has its number
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
