"""The statistics of a log that is only read, beside a running kernel or without one."""

from __future__ import annotations

from gnomon import Store
from gnomon.stores.reading import read_log
from gnomon_stats.fold import Statistics, fold
from gnomon_stats.kept import CHECKPOINT, unkeep


async def kept_statistics(store: Store) -> Statistics | None:
    """Read what the plugin has kept; None where it has kept nothing yet. NewerViewError, UnreadableViewError."""
    checkpoint = await store.checkpoint(CHECKPOINT)  # before the head, which a running kernel moves on
    return unkeep(checkpoint, await store.head()) if checkpoint is not None else None


async def bring_to(statistics: Statistics, store: Store, head: int) -> None:
    """Fold what the log has up to a position and the statistics have not."""
    async for page in read_log(store, statistics.position, head):
        fold(statistics, page)
    statistics.position = max(statistics.position, head)  # the last ones may have been pruned
