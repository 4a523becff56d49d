"""The question of KernelApi that leads to the past, in every role."""

from __future__ import annotations

import asyncio
from datetime import datetime

from gnomon.engine.log_queries import LogQueries, on_kernel_loop
from gnomon.engine.past_kernel import PastKernel
from gnomon.errors import PastError, StoreUnavailableError
from gnomon.past.log_index import LogIndex
from gnomon.past.past_store import PastStore

READ_LIMIT_S = 5.0
"""Seconds that a question waits for the index of the log; the next one continues from there."""


class PastQueries(LogQueries):
    """The part of KernelApi that shows the log as it was."""

    _index: LogIndex | None = None

    @on_kernel_loop
    async def at(self, moment: datetime) -> PastKernel:
        loop = asyncio.get_running_loop()
        if moment.tzinfo is None:
            raise PastError(f"expected a time with an offset, got {moment.isoformat()}")
        if moment > self.clock.now():
            raise PastError(f"{moment.isoformat()} is in the future: ask for a time up to now")
        await self._durable()
        index = self._index = self._index or LogIndex(self._store)
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                found = await index.find(moment)
        except TimeoutError:
            head = await self._store.head()
            problem = f"the index of the log by time has {index.position:,} of {head:,} events so far: ask again"
            raise StoreUnavailableError(problem) from None
        store = PastStore(self._store, found)
        past = PastKernel(self, loop, store, found, self._analyses.of(store))  # type: ignore[abstract]  # it refuses
        await past.look()
        return past
