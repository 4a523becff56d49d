"""One connection to the log in PostgreSQL, with everything that the shared part of a store asks of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Self

from gnomon.errors import StoreError
from gnomon_postgres.log.change_source import PostgresChangeSource
from gnomon_postgres.log.late_end_table import PostgresLateEndTable
from gnomon_postgres.log.lease_table import PostgresLeaseTable
from gnomon_postgres.log_table import PostgresLogTable
from gnomon_postgres.orders.order_table import PostgresOrderTable
from gnomon_postgres.schema.log_tables import problem_of_name
from gnomon_postgres.schema.partitions import Partitions
from gnomon_postgres.server import Server
from gnomon_postgres.write_batch import BatchCodec


class PostgresLog:
    """Implements ServerLog of gnomon_shared_log."""

    product = "PostgreSQL"

    def __init__(self, server: Server, period: timedelta) -> None:
        self.server = server
        self.codec = BatchCodec()
        self.lease = PostgresLeaseTable(server)
        self.late_ends = PostgresLateEndTable(server)
        self.orders = PostgresOrderTable(server)
        self.source = PostgresChangeSource(server)
        self._period = period
        self.events = self._new_events()

    def _new_events(self) -> PostgresLogTable:
        return PostgresLogTable(self.server, self.lease, Partitions(self._period))

    @property
    def name(self) -> str:
        """The log for messages."""
        return self.server.address

    async def connect(self) -> None:
        """Prepare to connect; nothing is left of an earlier time. StoreError for a schema that cannot be."""
        if problem := problem_of_name(self.server.schema):
            raise StoreError(f"`schema` is not valid: {problem}, got {self.server.schema!r}")
        await self.server.connect()
        self.events = self._new_events()

    async def close(self) -> None:
        """Close all connections."""
        await self.server.close()

    @asynccontextmanager
    async def borrowed(self) -> AsyncIterator[Self]:
        """Yield this log while it is connected, otherwise another connection to it, which is closed afterwards."""
        if self.server.is_connected:
            yield self
            return
        async with self.server.apart() as server:
            yield type(self)(server, self._period)
