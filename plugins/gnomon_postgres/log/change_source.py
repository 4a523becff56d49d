"""What PostgreSQL reports of a log: appends, changes of the lease, and placed orders.

LISTEN needs a session. Where a pooler is in between that lends sessions for a transaction, no notice arrives: one that
is sent as a test shows that.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

from gnomon.errors import StoreError
from gnomon_postgres.log import event_reads, log_watch
from gnomon_postgres.log.notices import change_of
from gnomon_postgres.schema.order_tables import CHANNEL
from gnomon_postgres.server import Connection, Server
from gnomon_shared_log.ports.changes import Appended, Change, ChangeSource, Look, NextChange, Placed, Topic

TEST_LIMIT_S = 2.0
"""Time for the first notice to arrive."""

T = TypeVar("T")


class PostgresChangeSource(ChangeSource):
    """The changes of one log."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @asynccontextmanager
    async def changes(self, topic: Topic, await_s: float) -> AsyncIterator[NextChange]:
        schema = self._server.schema

        def of_topic(payload: str) -> Change | None:
            change = change_of(payload, schema)
            if isinstance(change, Placed) != (topic == "orders"):
                return None
            return change

        async with self._server.direct() as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            await self._expect_notices(connection)
            newest = 0

            async def next_change() -> Change | None:
                nonlocal newest
                change: Change | None = await _first(connection, of_topic, await_s)
                if change is None:
                    async with asyncio.timeout(self._server.timeout):  # a connection that was cut is silent, too
                        head = await event_reads.head(connection)
                    if topic == "log" and head > newest:  # a kernel that was killed reports nothing
                        change = Appended(head)
                if isinstance(change, Appended):
                    newest = change.position
                return change

            yield next_change

    async def _expect_notices(self, connection: Connection) -> None:
        test = f"test {secrets.token_hex(8)}"
        async with self._server.writing() as sender:
            await sender.fetch("SELECT pg_notify(%s, %s)", (CHANNEL, test))
        if not await _first(connection, lambda payload: payload == test or None, TEST_LIMIT_S):
            raise StoreError(f"{self._server.address} delivers no notices: a pooler in transaction mode is in between")

    async def look(self, after: int) -> Look:
        return await log_watch.look(self._server, after)


async def _first(connection: Connection, read: Callable[[str], T | None], limit_s: float) -> T | None:
    """Return what is read in the first notice of interest; None where none arrives within the limit."""
    now = asyncio.get_running_loop().time
    until = now() + limit_s
    while (left := until - now()) > 0:
        async with aclosing(connection.link.notifies(timeout=left, stop_after=1)) as notices:
            async for notice in notices:
                if (found := read(notice.payload)) is not None:
                    return found
    return None
