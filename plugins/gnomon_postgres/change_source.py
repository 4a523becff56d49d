"""What PostgreSQL reports of a log: a notice for each transaction that has placed orders.

LISTEN needs a session. Where a pooler is in between that lends sessions for a transaction, no notice arrives: one that
is sent as a test shows that.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from gnomon.errors import StoreError
from gnomon_postgres import log_watch
from gnomon_postgres.order_tables import CHANNEL, PLACED
from gnomon_postgres.server import Connection, Server
from gnomon_shared_log.changes import Change, ChangeSource, Look, NextChange, Placed, Topic

TEST_LIMIT_S = 2.0
"""Time for the first notice to arrive."""


class PostgresChangeSource(ChangeSource):
    """The changes of one log."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @asynccontextmanager
    async def changes(self, topic: Topic, await_s: float) -> AsyncIterator[NextChange]:
        if topic != "orders":
            raise StoreError(f"{self._server.address} reports orders, and nothing else")
        placed = f"{PLACED} {self._server.schema}"
        async with self._server.direct() as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            await self._expect_notices(connection)

            async def next_change() -> Change | None:
                if await _wait_for(connection, placed, await_s):
                    return Placed()
                async with asyncio.timeout(self._server.timeout):
                    await connection.execute("SELECT 1")  # a connection that was cut is silent, too
                return None

            yield next_change

    async def _expect_notices(self, connection: Connection) -> None:
        test = f"test {secrets.token_hex(8)}"
        async with self._server.writing() as sender:
            await sender.fetch("SELECT pg_notify(%s, %s)", (CHANNEL, test))
        if not await _wait_for(connection, test, TEST_LIMIT_S):
            raise StoreError(f"{self._server.address} delivers no notices: a pooler in transaction mode is in between")

    async def look(self, after: int) -> Look:
        return await log_watch.look(self._server, after)


async def _wait_for(connection: Connection, payload: str, limit_s: float) -> bool:
    """Return whether a notice with this text arrives within the limit."""
    now = asyncio.get_running_loop().time
    until = now() + limit_s
    while (left := until - now()) > 0:
        async with aclosing(connection.link.notifies(timeout=left, stop_after=1)) as notices:
            async for notice in notices:
                if notice.payload == payload:
                    return True
    return False
