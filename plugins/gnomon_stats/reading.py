"""The statistics of a log that is only read, beside a running kernel or without one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from gnomon import Event, Store
from gnomon_stats.fold import Statistics, fold
from gnomon_stats.kept import CHECKPOINT, unkeep

PAGE = 2_000
"""Events that are read at once."""


async def read_log(store: Store, after: int, head: int) -> AsyncIterator[Sequence[Event]]:
    """Read the log from one position to another, page by page."""
    while after < head and (page := await store.read(after, min(PAGE, head - after))):
        after = page[-1].position
        yield [event for event in page if event.position <= head] if after > head else page


async def kept_statistics(store: Store) -> Statistics | None:
    """Read what the plugin has kept; None where it has kept nothing yet. NewerViewError, UnreadableViewError."""
    checkpoint = await store.checkpoint(CHECKPOINT)  # before the head, which a running kernel moves on
    return unkeep(checkpoint, await store.head()) if checkpoint is not None else None


async def bring_to(statistics: Statistics, store: Store, head: int) -> None:
    """Fold what the log has up to a position and the statistics have not."""
    async for page in read_log(store, statistics.position, head):
        fold(statistics, page)
    statistics.position = max(statistics.position, head)  # the last ones may have been pruned
