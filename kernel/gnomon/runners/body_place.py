"""Where a body runs in this process: its thread, and the task of an async one."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from gnomon.domain.body_sample import MOST_STACKS, BodySample, BodyStack, ProcessUsage
from gnomon.runners.process_usage import process_usage
from gnomon.runners.stack_frames import awaiting_stacks, is_executing, other_threads, thread_stack
from gnomon.safe_text import safe_str, type_name

BETWEEN = "the body was not in Python code at that moment: it may just have ended"


class BodyPlace:
    """The place of one body, made in the thread that calls it, just before.

    With `owns_process`, no other body runs in this process meanwhile.
    """

    __slots__ = ("_clock", "_cpu_before", "_process_before", "_thread", "task")

    def __init__(self, *, owns_process: bool = False) -> None:
        self._thread = threading.get_ident()
        self._clock = _clock_of(self._thread)
        self._cpu_before = self._thread_cpu() or 0.0
        self._process_before = process_usage(os.getpid()) if owns_process else None
        self.task: asyncio.Task[Any] | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine of the body to its end, on a new loop."""

        async def noted() -> Any:
            self.task = asyncio.current_task()
            return await coroutine

        return asyncio.run(noted())

    def sample(self) -> BodySample:
        """Return where the body is now, and what it uses; called in any thread of the process. Raises nothing."""
        try:
            return self._sample()
        except Exception as exc:  # noqa: BLE001 - the thread that asks has other work, and the body may be anything
            return BodySample(problem=f"its stack could not be read: {type_name(exc)}: {safe_str(exc)}")

    def _sample(self) -> BodySample:
        stacks = self._stacks()
        problem = None if stacks else BETWEEN
        if (before := self._process_before) is None:
            cpu_s = self._thread_cpu()
            own = None if cpu_s is None else round(cpu_s - self._cpu_before, 3)
            return BodySample(stacks=stacks, process=process_usage(os.getpid()), cpu_s=own, problem=problem)
        stacks += other_threads({self._thread})
        now = process_usage(os.getpid())
        return sample_of_process(stacks[:MOST_STACKS], before, now, problem)

    def _stacks(self) -> list[BodyStack]:
        task = self.task
        if task is not None and not task.done() and not is_executing(coroutine := task.get_coro()):
            return awaiting_stacks("the body", coroutine)
        stack = thread_stack(self._thread, "the body")
        return [] if stack is None or not stack.frames else [stack]

    def _thread_cpu(self) -> float | None:
        """Return the CPU time of the thread in seconds; None where the system does not tell, or it has ended."""
        if self._clock is not None:
            with suppress(OSError):
                return time.clock_gettime(self._clock)
        return None


def sample_of_process(
    stacks: list[BodyStack], before: ProcessUsage, now: ProcessUsage, problem: str | None
) -> BodySample:
    """Return the sample of a body that has its process for itself, by what that used before the body began."""
    cpu_s = None if now.cpu_s is None or before.cpu_s is None else round(now.cpu_s - before.cpu_s, 3)
    growth = None if now.memory is None or before.memory is None else now.memory - before.memory
    return BodySample(stacks=stacks, process=now, is_shared=False, cpu_s=cpu_s, memory_growth=growth, problem=problem)


def _clock_of(thread: int) -> int | None:
    """Return the clock of the CPU time of a thread that runs; None where the system has none."""
    try:
        # Asked in the thread itself: for one that has ended, the call would be undefined.
        return time.pthread_getcpuclockid(thread)
    except (AttributeError, OSError):
        return None
