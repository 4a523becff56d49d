"""Tasks that run while the store is open."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from gnomon.tasks import protected, stop_tasks


def start_task(work: Coroutine[Any, Any, None], held: AsyncExitStack) -> None:
    """Start a task that ends with the stack. Not in a TaskGroup: open and close may be called in different tasks."""
    held.push_async_callback(stop_tasks, (protected(work),))
