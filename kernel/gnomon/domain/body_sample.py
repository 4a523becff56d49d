"""What a look into a running body finds: where it is in its code, and what its process uses. No value of a variable."""

from __future__ import annotations

from datetime import datetime

import msgspec

MOST_FRAMES = 100
"""Frames of one stack: of a deeper one, the middle is left out."""
MOST_STACKS = 20
"""Threads and tasks of one body."""


class StackFrame(msgspec.Struct, frozen=True):
    """A call that has not returned: its function, the file, the line that it is at, and the text of that line."""

    function: str
    file: str
    line: int
    source: str = ""


class BodyStack(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of a thread or task of the body, the outermost first, from the function of the job on.

    Where `left_out` calls were left out of the middle, they are missing after the first half of `frames`.
    """

    name: str
    frames: list[StackFrame]
    left_out: int = 0


class ProcessUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a process uses: bytes of resident memory now and at most, seconds of CPU time since it started.

    None is what the operating system does not tell.
    """

    pid: int
    memory: int | None = None
    peak_memory: int | None = None
    cpu_s: float | None = None


class BodySample(msgspec.Struct, frozen=True, kw_only=True):
    """What one look found, at the time `at`. The first of `stacks` is that of the body itself.

    `process` is the one in which the body runs; others run in it too where it `is_shared`. `cpu_s` and `memory_growth`
    (bytes) are those of the body alone, since it began, where they can be separated. `problem` says what could not be
    found, and why. The kernel fills in `at` and `runner`.
    """

    stacks: list[BodyStack] = []
    process: ProcessUsage | None = None
    is_shared: bool = True
    cpu_s: float | None = None
    memory_growth: int | None = None
    problem: str | None = None
    runner: str = ""
    at: datetime | None = None
