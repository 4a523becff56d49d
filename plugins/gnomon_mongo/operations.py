"""All writes to the server: events in order, then the views folded from them. Every step is idempotent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from pymongo import DeleteMany, InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError

from gnomon_mongo import schema
from gnomon_mongo.drivers import Document
from gnomon_mongo.errors import only_duplicates
from gnomon_mongo.event_append import append_events, identity, newest_position
from gnomon_mongo.server import Server
from gnomon_mongo.write_batch import WriteBatch

CALL_DOCUMENTS = 250
CALL_BYTES = 8 * 1024 * 1024
"""The limits of one call: encoding more would block the event loop, and the server accepts 48 MB."""


async def write(server: Server, batch: WriteBatch) -> None:
    """Write a batch. What is there already is kept, so writing a batch again is harmless.

    Raise LostEventsError if the event before its first one is missing, ConflictError if the log has another event at
    one of its places; nothing at or after that is written.
    """
    after = batch.after
    for some in _portions(batch.events):
        await append_events(server, some, after)
        after = identity(some[-1])
    # At once: the views are independent of each other, so all of them cost one round trip.
    writes = (
        _put(server, schema.EXECUTIONS, batch.executions, "version"),
        _put(server, schema.METADATA, batch.jobs, "position"),
        _put(server, schema.CHECKPOINTS, batch.checkpoints, "position", again=True),
        _insert_actions(server, batch.actions),
        _put_lines(server, batch),
    )
    for problem in await asyncio.gather(*writes, return_exceptions=True):
        if problem is not None:
            raise problem


async def _put(
    server: Server, collection: str, documents: Sequence[Document], grows: str, *, again: bool = False
) -> None:
    """Replace documents in which the field `grows` is lower, or with `again` equal."""
    for some in _portions(documents):
        older = "$lte" if again else "$lt"
        requests = [ReplaceOne({"_id": one["_id"], grows: {older: one[grows]}}, one, upsert=True) for one in some]
        await _write_all(server, collection, requests)


async def _insert_actions(server: Server, actions: Sequence[Document]) -> None:
    await _write_all(server, schema.HISTORY, [InsertOne(action) for action in actions])


async def _put_lines(server: Server, batch: WriteBatch) -> None:
    for some in _portions(batch.lines):
        keys = [{"execution_id": line["execution_id"], "number": line["number"]} for line in some]
        requests = [ReplaceOne(key, line, upsert=True) for key, line in zip(keys, some, strict=True)]
        await _write_all(server, schema.LINES, requests)
    forgotten = [
        DeleteMany({"execution_id": execution_id, "number": {"$lt": oldest}})
        for execution_id, oldest in batch.oldest_lines.items()
    ]
    await _write_all(server, schema.LINES, forgotten)


async def _write_all(server: Server, collection: str, requests: Sequence[Any]) -> None:
    if not requests:
        return
    async with server.writing():
        try:
            await server[collection].bulk_write(requests, ordered=False)
        except BulkWriteError as exc:
            if not only_duplicates(exc):  # a duplicate is a newer document, which is kept
                raise


def _portions(documents: Sequence[Document]) -> Iterator[list[Document]]:
    """Split documents into the portions of one call."""
    portion: list[Document] = []
    size = 0
    for document in documents:
        weight = _weight(document)
        if portion and (len(portion) >= CALL_DOCUMENTS or size + weight > CALL_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(document)
        size += weight
    if portion:
        yield portion


def _weight(document: Document) -> int:
    """Estimate the bytes of a document from its texts."""
    texts = [*document.values(), *document.get("gnomon", {}).values()]
    return sum(len(text) for text in texts if isinstance(text, str | bytes))


async def read_head(server: Server) -> int:
    """Return the highest position ever assigned."""
    async with server.reading():
        log = await server[schema.KERNEL].find_one({"_id": "log"}) or {}
    return max(await newest_position(server), int(log.get("head", 0)))
