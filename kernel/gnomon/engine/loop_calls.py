"""Calls of coroutines on the loop of the kernel, whatever loop they are awaited on: plugins have loops of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from gnomon.engine.contained_calls import contained
from gnomon.errors import GnomonError
from gnomon.tasks import submit

NOT_RUNNING = "the kernel is not running: call it inside `async with kernel:`"

R = TypeVar("R")


async def call_on(loop: asyncio.AbstractEventLoop, call: Coroutine[Any, Any, R]) -> R:
    """Await a coroutine on the loop of a kernel, and return its result; GnomonError where the loop is closed."""
    if asyncio.get_running_loop() is loop:
        return await call
    guarded = contained(call)
    try:
        future = submit(guarded, loop)
    except RuntimeError as exc:  # its loop is closed
        guarded.close()
        call.close()
        raise GnomonError(NOT_RUNNING) from exc
    return await asyncio.wrap_future(future)
