"""The last resort for a child process that does not answer: its interpreter writes down where its main thread is.

A body in C code that holds the interpreter's lock, such as a regular expression that backtracks without end, lets no
thread answer. `faulthandler` needs no lock: it writes from the handler of a signal. System calls that the signal
interrupts are restarted. On Linux only: elsewhere, nothing shows beforehand whether the child handles the signal, and
it would end a process that does not.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

from gnomon.domain.body_sample import BodyStack, StackFrame

DUMP_LIMIT_S = 1.0
LOOK_INTERVAL_S = 0.01
MOST_BYTES = 4 * 1024 * 1024
"""Bytes of all dumps of one child."""
_FRAME = re.compile(r'^ {2}File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.*)$', re.MULTILINE)
_END = re.compile(r'^ {2}(?:\.\.\.|File "<string>", line \d+ in <module>)$', re.MULTILINE)
"""A dump ends with the program that the runner starts, or with dots: it has the 100 innermost calls."""


def dump_signal() -> int | None:
    """Return the signal on which a child writes its stack: one that no program uses; None where there is none."""
    return signal.SIGRTMIN + 11 if sys.platform == "linux" else None


def write_on_signal(descriptor: int) -> None:
    """Write the stack of this process to a file whenever the signal comes; called in the child."""
    if (number := dump_signal()) is not None:
        faulthandler.register(number, descriptor, all_threads=False)


class StackDump:
    """The file into which one child writes, from the side of the kernel."""

    def __init__(self) -> None:
        self.descriptor: int | None = None
        if sys.platform == "linux":
            with suppress(OSError):  # a sandbox may forbid it: then there are no dumps
                self.descriptor = os.memfd_create("gnomon-stack", 0)

    def close(self) -> None:
        """Close the file."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    async def take(self, pid: int) -> BodyStack | None:
        """Make the child write where its main thread is; None where it does not."""
        number = dump_signal()
        if number is None or self.descriptor is None or not _handles(pid, number):
            return None
        start = os.fstat(self.descriptor).st_size
        if start > MOST_BYTES:
            return None
        with suppress(OSError):  # TimeoutError is one
            os.kill(pid, number)
            # In real time: the child is real on any clock.
            async with asyncio.timeout(DUMP_LIMIT_S):
                return _read(await self._written(start))
        return None

    async def _written(self, start: int) -> str:
        while self.descriptor is not None:
            text = os.pread(self.descriptor, MOST_BYTES, start).decode(errors="replace")
            if _END.search(text):
                return text
            await asyncio.sleep(LOOK_INTERVAL_S)
        return ""


def _read(text: str) -> BodyStack | None:
    """Return the stack that a dump shows, whose calls are written from the innermost one on."""
    frames = []
    for found in _FRAME.finditer(text):
        if found["file"].endswith("gnomon/runners/calls.py"):
            break  # what calls the body
        frames.append(StackFrame(found["function"], found["file"], int(found["line"])))
    return BodyStack(name="the body", frames=frames[::-1]) if frames else None


def _handles(pid: int, number: int) -> bool:
    """Whether a process handles a signal: one that it does not handle would end it, such as after an exec."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False
