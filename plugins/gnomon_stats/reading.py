"""The statistics of a log that is open for reading, beside a running kernel or without one."""

from __future__ import annotations

from gnomon import Store
from gnomon.stores.reading import read_log
from gnomon_stats.checkpoint import CHECKPOINT, from_checkpoint
from gnomon_stats.fold import Statistics, fold


async def saved_statistics(store: Store) -> Statistics | None:
    """Return the statistics that the plugin has saved, or None. Raises NewerViewError and UnreadableViewError."""
    checkpoint = await store.checkpoint(CHECKPOINT)  # before the head, which a running kernel moves on
    return from_checkpoint(checkpoint, await store.head()) if checkpoint is not None else None


async def catch_up(statistics: Statistics, store: Store, head: int) -> None:
    """Fold the events that are not counted yet, up to `head`."""
    async for page in read_log(store, statistics.counted, head):
        fold(statistics, page)
    statistics.skip_to(head)  # the last events may have been pruned
