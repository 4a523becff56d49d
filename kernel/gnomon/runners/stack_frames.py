"""Where threads and tasks of this process are in their code: the calls that have not returned, as names and lines.

Nothing is stopped for it. Each step reads what the interpreter shows of a thread that may run on, so the calls of a
body that is not waiting may belong to two moments that lie microseconds apart.
"""

from __future__ import annotations

import asyncio
import gc
import linecache
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any

from msgspec.structs import replace

from gnomon.domain.body_sample import MOST_FRAMES, MOST_STACKS, BodyStack, StackFrame
from gnomon.text import shorten, writable

DEEPEST = 10_000
"""Calls that are looked at, from the innermost one on."""
LARGEST_SOURCE = 8 * 1024 * 1024
"""Bytes of a file that is read as source code."""
SOURCE_LIMIT = 200
NAME_LIMIT = 300
"""Characters of a line of source, and of the name of a function or file."""
CALLERS = frozenset({"gnomon.runners.calls", "gnomon.runners.thread", "gnomon.runners.async_task"})
"""The modules that call the functions of jobs: what they are called by is left out."""
WRAPPERS = frozenset({"async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "anext_awaitable"})
"""Types of awaitables that do not show what they await; the garbage collector does."""

SUSPENDED = (CoroutineType, AsyncGeneratorType, GeneratorType)


def thread_stack(thread: int, name: str) -> BodyStack | None:
    """Return the calls of a thread of this process; None where it runs no Python code."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - documented for this purpose
    return None if frame is None else _stack(name, _calls_of(frame))


def other_threads(but: Iterable[int]) -> list[BodyStack]:
    """Return the calls of the threads of this process, except those with the ids in `but` and this one."""
    known = {*but, threading.get_ident()}
    found = (thread_stack(one.ident, one.name) for one in threading.enumerate() if one.ident and one.ident not in known)
    return [stack for stack in found if stack is not None]


def awaiting_stacks(name: str, awaited: Any, others: Iterable[asyncio.Task[Any]] = ()) -> list[BodyStack]:
    """Return the calls of a coroutine that waits, then those of the tasks for which it waits, and of `others`."""
    frames, leaf = _calls_below(awaited)
    stacks = [_stack(name, reversed(frames))] if frames else []
    waiting, seen = deque([*_tasks_in(leaf), *others]), set[int]()
    while waiting and len(stacks) < MOST_STACKS:
        task = waiting.popleft()
        if id(task) in seen or task.done():
            continue
        seen.add(id(task))
        frames, leaf = _calls_below(task.get_coro())
        stacks.append(_stack(task.get_name(), reversed(frames)))
        waiting.extendleft(reversed(_tasks_in(leaf)))
    return stacks


def is_executing(coroutine: Any) -> bool:
    """Return whether the code of a coroutine is being executed at this moment, by whatever thread."""
    return bool(getattr(coroutine, "cr_running", False))


def with_sources(stacks: Iterable[BodyStack], hide: Callable[[str], str] = str) -> list[BodyStack]:
    """Return stacks with the text of each line, without what `hide` removes. Reads files, so it may block."""
    return [replace(stack, frames=[_with_source(frame, hide) for frame in stack.frames]) for stack in stacks]


def _with_source(frame: StackFrame, hide: Callable[[str], str]) -> StackFrame:
    source = linecache.getline(frame.file, frame.line).strip() if _is_source(frame.file) else ""
    return replace(frame, source=hide(shorten(source, SOURCE_LIMIT)))


def _is_source(file: str) -> bool:
    """Whether a file can be read as source code: code may be compiled with any name, such as that of a device."""
    try:
        status = Path(file).stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST_SOURCE


def _stack(name: str, innermost_first: Iterable[StackFrame]) -> BodyStack:
    """Return a stack of a bounded size, the outermost call first."""
    half = MOST_FRAMES // 2
    inner: list[StackFrame] = []
    outer: deque[StackFrame] = deque(maxlen=half)
    left_out = 0
    for frame in innermost_first:
        if len(inner) < half:
            inner.append(frame)
        else:
            left_out += len(outer) == half
            outer.append(frame)
    return BodyStack(name=shorten(name, NAME_LIMIT), frames=[*reversed(outer), *reversed(inner)], left_out=left_out)


def _calls_of(innermost: FrameType) -> Iterator[StackFrame]:
    frame: FrameType | None = innermost
    for _ in range(DEEPEST):
        if frame is None or _is_caller(frame):
            return
        yield _call(frame)
        frame = frame.f_back


def _calls_below(awaited: Any) -> tuple[list[StackFrame], Any]:
    """Return the calls of a coroutine, the outermost first, and what the innermost one awaits."""
    calls: list[StackFrame] = []
    for _ in range(DEEPEST):
        if (suspended := _suspended(awaited)) is None:
            break
        frame, awaited = _parts(suspended)
        if frame is not None and _is_caller(frame):
            calls.clear()
        elif frame is not None:
            calls.append(_call(frame))
    return calls, awaited


def _suspended(awaited: Any) -> Any:
    """Return the coroutine or generator that is awaited, directly or through a wrapper; None for anything else."""
    if isinstance(awaited, SUSPENDED):
        return awaited
    if type(awaited).__name__ not in WRAPPERS:
        return None
    return next((one for one in gc.get_referents(awaited) if isinstance(one, SUSPENDED)), None)


def _parts(suspended: Any) -> tuple[FrameType | None, Any]:
    """Return the frame of a coroutine or generator, and what it awaits."""
    if isinstance(suspended, CoroutineType):
        return suspended.cr_frame, suspended.cr_await
    if isinstance(suspended, AsyncGeneratorType):
        return suspended.ag_frame, suspended.ag_await
    return suspended.gi_frame, suspended.gi_yieldfrom


def _tasks_in(awaited: Any) -> list[asyncio.Task[Any]]:
    """Return the tasks for which a task waits: the one that it awaits, or those of `asyncio.gather`."""
    if awaited is None:
        return []
    futures = (
        [awaited] if asyncio.isfuture(awaited) else [one for one in gc.get_referents(awaited) if asyncio.isfuture(one)]
    )
    members = [child for future in futures for child in getattr(future, "_children", ())]
    return [one for one in (*futures, *members) if isinstance(one, asyncio.Task)]


def _is_caller(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") in CALLERS


def _call(frame: FrameType) -> StackFrame:
    code = frame.f_code
    line = frame.f_lineno or code.co_firstlineno
    return StackFrame(writable(code.co_qualname[:NAME_LIMIT]), writable(code.co_filename[-NAME_LIMIT:]), line)
