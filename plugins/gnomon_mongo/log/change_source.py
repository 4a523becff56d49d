"""What MongoDB reports of a log: by change streams, where the server has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gnomon_mongo import schema
from gnomon_mongo.drivers import Document, aggregate
from gnomon_mongo.log.lease_table import MongoLeaseTable, lease_fields, lease_row_of
from gnomon_mongo.server import Server
from gnomon_shared_log.errors import Refusal
from gnomon_shared_log.ports.changes import (
    Appended,
    Change,
    ChangeSource,
    Look,
    NextChange,
    Placed,
    Renewed,
    Replaced,
    Topic,
)

_PIPELINES: dict[Topic, list[Document]] = {
    "log": [
        {
            "$match": {
                "$or": [
                    {"ns.coll": schema.EVENTS, "operationType": "insert"},
                    {"ns.coll": schema.KERNEL, "documentKey._id": schema.WRITER},
                ]
            }
        },
        {"$project": {"operationType": 1, "ns.coll": 1, "documentKey": 1, "updateDescription.updatedFields": 1}},
    ],
    "orders": [
        {"$match": {"ns.coll": schema.ORDERS, "operationType": "insert"}},
        {"$project": {"ns.coll": 1, "documentKey": 1}},
    ],
}


class MongoChangeSource(ChangeSource):
    """The changes of one database."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._joins = True

    @asynccontextmanager
    async def changes(self, topic: Topic, await_s: float) -> AsyncIterator[NextChange]:
        async with self._server.changes(_PIPELINES[topic], await_s) as next_document:

            async def next_change() -> Change | None:
                document = await next_document()
                return _change_of(document) if document is not None else None

            yield next_change

    async def look(self, after: int) -> Look:
        newer = {"_id": {"$gt": after}}
        if self._joins:
            try:
                return await self._join(newer)
            except Refusal:  # MongoDB before 4.4, or a database that only speaks its protocol
                self._joins = False
        row = await MongoLeaseTable(self._server).read()
        async with self._server.reading() as server:
            return Look(row, await server[schema.EVENTS].find_one(newer, {"_id": 1}) is not None)

    async def _join(self, newer: Document) -> Look:
        """Read both in one request."""
        some = [{"$match": newer}, {"$limit": 1}, {"$project": {"_id": 1}}]
        pipeline: list[Document] = [
            {"$match": {"_id": schema.WRITER}},
            {"$unionWith": {"coll": schema.EVENTS, "pipeline": some}},
        ]
        async with self._server.reading() as server:
            found = await aggregate(server[schema.KERNEL], pipeline)
        rows = {row["_id"]: row for row in found}
        row = lease_row_of(rows.pop(schema.WRITER, None))
        return Look(row, bool(rows))


def _change_of(document: Document) -> Change | None:
    """Return what has changed; None for a document of another program."""
    match document["ns"]["coll"]:
        case schema.ORDERS:
            return Placed()
        case schema.EVENTS:
            position = document["documentKey"]["_id"]
            return Appended(position) if isinstance(position, int) else None
    if document["operationType"] == "update":
        return Renewed(lease_fields(document["updateDescription"]["updatedFields"]))
    return Replaced()
