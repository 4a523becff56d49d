"""Tasks that run while the store is open."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from gnomon.logs import get_logger
from gnomon.tasks import protected, stop_tasks

log = get_logger("gnomon.shared_log")


def start_task(work: Coroutine[Any, Any, None], held: AsyncExitStack) -> None:
    """Start a task that ends with the stack. Not in a TaskGroup: open and close may be called in different tasks."""
    task = protected(work)
    task.add_done_callback(_report)
    held.push_async_callback(stop_tasks, (task,))


def _report(task: asyncio.Task[None]) -> None:
    """Log a task that has failed: its work is not done any more."""
    if not task.cancelled() and (exc := task.exception()) is not None:
        log.critical("a part of the store failed", exc_info=exc)
