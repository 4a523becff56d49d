"""Lists in a process that follows: the leader files views right behind its events, and a question may come between."""

from __future__ import annotations

import asyncio

from gnomon_postgres.log import event_reads
from gnomon_postgres.server import Server

LIMIT_S = 2.0
"""A leader that was killed files nothing more, and the next one folds what is left."""
FIRST_LOOK_S, LONGEST_LOOK_S = 0.005, 0.1
"""The pauses between two looks at what is not filed yet."""


class FiledViews:
    """Which views are known to be filed, or are not waited for any more."""

    def __init__(self) -> None:
        self._known = 0

    async def wait(self, server: Server) -> None:
        """Wait until the views of all events that the log has by now are filed, for LIMIT_S at most."""
        filed, wanted = await _places(server)
        pause, deadline = FIRST_LOOK_S, asyncio.get_running_loop().time() + LIMIT_S
        while max(filed, self._known) < wanted and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK_S)
            filed, _ = await _places(server)
        self._known = max(self._known, wanted)


async def _places(server: Server) -> tuple[int, int]:
    async with server.reading() as connection:
        return await event_reads.filed(connection), await event_reads.head(connection)
