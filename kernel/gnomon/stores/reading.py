"""Read a span of the log in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from gnomon.domain.events import Event
from gnomon.ports import Store

BLOCK = 2_000
"""Events that are read at once."""


async def read_log(store: Store, after: int, head: int) -> AsyncIterator[Sequence[Event]]:
    """Yield the events in after < position <= head, block by block."""
    while after < head and (block := await store.read(after, min(BLOCK, head - after))):
        after = block[-1].position
        yield [event for event in block if event.position <= head] if after > head else block
