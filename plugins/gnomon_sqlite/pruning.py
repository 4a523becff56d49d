"""Pruning: old executions and facts about kernels are deleted in small transactions, and then the file shrinks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from gnomon.ports import Store
from gnomon.stores import kernel_streams
from gnomon_sqlite import transactions
from gnomon_sqlite.file import vacuum
from gnomon_sqlite.views.projection_writer import PendingViews

BATCH = 100
"""Executions, or streams of kernels, that are deleted in one transaction: about 5 ms, the longest time that pruning
delays an append."""
SHRINK_REST_S = 0.01
"""Pause between two steps in which the file shrinks, about as long as a step takes: 128 MiB need about 10 s."""

Write = Callable[..., Awaitable[Any]]


async def prune(store: Store, write: Write, pending: PendingViews, before: datetime) -> int:
    """Delete executions that ended before that time, and return how many; `write` executes a transaction."""
    pruned = 0
    while some := await write(transactions.prune, pending, before, BATCH):
        pruned += some
    deletable = await kernel_streams.find_deletable(store, before)
    newest = await write(transactions.newest_kernel_stream, pending)
    after: str | None = kernel_streams.FIRST
    while after is not None:
        after = await write(transactions.prune_kernels, pending, deletable, newest, after, BATCH)
    removed: tuple[int, str] | None = (0, "")
    while removed is not None:
        removed = await write(transactions.prune_jobs, pending, before, removed, BATCH)
    while await write(vacuum.shrink):  # noqa: ASYNC110 - the pause paces the steps, it waits for nothing
        await asyncio.sleep(SHRINK_REST_S)
    return pruned
