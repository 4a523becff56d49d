"""Runs many bodies in one task for as long as they do not wait; a body that waits gets the task to itself.

A task costs as much as everything else that the loop does for a run, and many bodies return without waiting. In 9
pairs of bursts of 10,000 runs (bench/burst.py), a task for each run took 1.7 times as long and 1.8 times the CPU time.
"""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any, TypeAlias, TypeVar

from gnomon.tasks import ProtectedTask, outside_runs

T = TypeVar("T")
Run: TypeAlias = Callable[[T, asyncio.Task[None]], Coroutine[Any, Any, None]]
GiveUp: TypeAlias = Callable[[T, BaseException], None]


def take_turns(loop: asyncio.AbstractEventLoop, waiting: Iterator[T], run: Run[T], give_up: GiveUp[T]) -> None:
    """Start `run` for each item, in order. All have started after two iterations of the loop, as separate tasks would.

    Each has its own context variables, and each that waits has its task to itself from there on. Where no task can be
    started, `give_up` is called for each item.
    """
    work = _run_all(loop, waiting, run, give_up)
    try:
        ProtectedTask(work, loop=loop, context=outside_runs())
    except BaseException as exc:  # noqa: BLE001 - no memory is left: every run still needs its end
        work.close()
        for one in waiting:
            give_up(one, exc)


async def _run_all(loop: asyncio.AbstractEventLoop, waiting: Iterator[T], run: Run[T], give_up: GiveUp[T]) -> None:
    task = asyncio.current_task(loop)
    assert task is not None  # noqa: S101 - there is one wherever something is awaited

    def move_on() -> None:
        for one in waiting:
            take_turns(loop, iter((one,)), run, give_up)

    for one in waiting:
        body, context = run(one, task), contextvars.copy_context()
        try:
            awaited = context.run(body.send, None)
        except StopIteration:  # most bodies end here
            pass
        except BaseException:
            move_on()
            raise
        else:
            move_on()
            await _finish(body, context, awaited)
        if task.cancelling():  # a body cancelled its own task, which must not hit the next one
            move_on()


@types.coroutine
def _finish(body: Coroutine[Any, Any, None], context: contextvars.Context, awaited: Any) -> Generator[Any, Any, None]:
    """Run a waiting coroutine to its end, in its own context."""
    while True:
        step: Callable[[Any], Any] = body.send
        sent: Any = None
        try:
            sent = yield awaited
        except BaseException as exc:  # noqa: BLE001 - all of it is for the body, a cancellation too
            step, sent = body.throw, exc
        try:
            awaited = context.run(step, sent)
        except StopIteration:
            return
