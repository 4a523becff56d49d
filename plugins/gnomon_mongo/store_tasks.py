"""Tasks that run while the store is open."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from gnomon.tasks import protected

CANCEL_AGAIN_S = 0.5
"""After which a task of the store that does not end is cancelled again."""


def start_task(work: Coroutine[Any, Any, None], held: AsyncExitStack) -> None:
    """Start a task that ends with the stack. Not in a TaskGroup: open and close may be called in different tasks."""
    task = protected(work)

    async def stop() -> None:
        while not task.done():  # pymongo sometimes swallows a cancellation during server selection
            task.end()
            await asyncio.wait((task,), timeout=CANCEL_AGAIN_S)

    held.push_async_callback(stop)
