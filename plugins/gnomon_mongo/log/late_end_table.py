"""Ends of runs for the kernel that leads: the collection `scheduler_late_ends`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pymongo import DeleteOne, ReplaceOne

from gnomon.domain import codec
from gnomon.domain.events import Event
from gnomon_mongo import schema
from gnomon_mongo.drivers import Document
from gnomon_mongo.server import Server
from gnomon_shared_log.ports.late_end_table import LateEndTable

MOST_AT_ONCE = 200


class MongoLateEndTable(LateEndTable):
    """The ends in one database."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def add(self, ends: Sequence[Event]) -> None:
        requests = [_request(event) for event in ends]
        for start in range(0, len(requests), MOST_AT_ONCE):
            async with self._server.writing():
                await self._server[schema.LATE_ENDS].bulk_write(requests[start : start + MOST_AT_ONCE], ordered=False)

    async def read(self) -> list[Event]:
        async with self._server.reading():
            cursor = self._server[schema.LATE_ENDS].find({}).sort("kept", 1).limit(MOST_AT_ONCE)
            found = await cursor.to_list(None)
        return [codec.decode(document["body"]) for document in found]

    async def delete(self, ends: Sequence[Event]) -> None:
        if ends:
            async with self._server.writing():
                await self._server[schema.LATE_ENDS].bulk_write([DeleteOne({"_id": _key(event)}) for event in ends])


def _request(event: Event) -> ReplaceOne[Document]:
    document = {"_id": _key(event), "kept": datetime.now(UTC), "body": codec.encode(event)}
    return ReplaceOne({"_id": document["_id"]}, document, upsert=True)


def _key(event: Event) -> str:
    return f"{event.stream}:{event.version}"
