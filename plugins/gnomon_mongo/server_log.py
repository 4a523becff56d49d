"""The collections of one log, for the shared part of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gnomon_mongo.documents.rejected_documents import RejectedDocuments
from gnomon_mongo.documents.write_batch import DocumentCodec
from gnomon_mongo.log.change_source import MongoChangeSource
from gnomon_mongo.log.late_end_table import MongoLateEndTable
from gnomon_mongo.log.lease_table import MongoLeaseTable
from gnomon_mongo.log.log_table import MongoLogTable
from gnomon_mongo.log.order_table import MongoOrderTable
from gnomon_mongo.server import Server


class MongoLog:
    """A `ServerLog`: the log of one connection. What the server rejects is kept aside in `rejected`."""

    product = "MongoDB"
    codec = DocumentCodec()

    def __init__(self, server: Server, rejected: RejectedDocuments) -> None:
        self._server = server
        self._rejected = rejected
        self.lease = MongoLeaseTable(server)
        self.events = MongoLogTable(server, rejected)
        self.late_ends = MongoLateEndTable(server)
        self.orders = MongoOrderTable(server)
        self.source = MongoChangeSource(server)

    @property
    def name(self) -> str:
        return self._server.log_name

    async def connect(self) -> None:
        await self._server.connect()

    async def close(self) -> None:
        await self._server.close()

    @asynccontextmanager
    async def borrowed(self) -> AsyncIterator[MongoLog]:
        async with self._server.borrowed() as server:
            yield self if server is self._server else MongoLog(server, self._rejected)
