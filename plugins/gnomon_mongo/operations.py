"""All writes to the server: events in order, then the views folded from them. Every step is idempotent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from pymongo import DeleteMany, InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError

from gnomon.domain.execution import FINAL
from gnomon.errors import ConflictError
from gnomon_mongo import schema
from gnomon_mongo.documents import execution_key, micros, millis
from gnomon_mongo.drivers import Collection, Document
from gnomon_mongo.errors import DUPLICATE
from gnomon_mongo.server import WORK_LIMIT_S, Server
from gnomon_mongo.write_batch import WriteBatch

CALL_DOCUMENTS = 250
CALL_BYTES = 8 * 1024 * 1024
"""The limits of one call: encoding more would block the event loop, and the server accepts 48 MB."""
PRUNED_AT_ONCE = 100
"""Executions that are deleted in one step."""
RECHECK_S = 0.02
"""Before a repeated write checks again how far the previous one has come."""


async def write(server: Server, batch: WriteBatch) -> None:
    """Write a batch. What is there already is kept, so writing a batch again is harmless.

    Raise ConflictError if the log has another event at one of its places; nothing at or after that is written.
    """
    for some in _portions(batch.events):
        await _insert_events(server, some)
    await _put(server, schema.EXECUTIONS, batch.executions, "version")
    await _put(server, schema.METADATA, batch.jobs, "position")
    await _put(server, schema.CHECKPOINTS, batch.checkpoints, "position", again=True)
    await _insert_actions(server, batch.actions)
    await _put_lines(server, batch)


async def _insert_events(server: Server, events: Sequence[Document]) -> None:
    async with server.writing():
        # In order: a reader sees no event before its predecessors, and none after one that could not be written. An
        # earlier write of ours that timed out may still be running on the server: a duplicate that is not visible yet
        # is not a conflict. If it never becomes visible, the time limit of the write ends the loop.
        missing = events
        while not await _inserted(server[schema.EVENTS], missing):
            if not (missing := await _missing(server, events)):
                return
            await asyncio.sleep(RECHECK_S)


async def _inserted(collection: Collection, events: Sequence[Document]) -> bool:
    """Insert in order; return False on a duplicate key."""
    try:
        await collection.insert_many(events, ordered=True)
    except BulkWriteError as exc:
        if _only_duplicates(exc):
            return False
        raise
    return True


async def _missing(server: Server, events: Sequence[Document]) -> list[Document]:
    """Return the events that are not in the log yet; raise ConflictError where the log has other events."""
    place = {"$gte": events[0]["_id"], "$lte": events[-1]["_id"]}
    found = await server[schema.EVENTS].find({"_id": place}).to_list()
    bodies = {document["_id"]: document["body"] for document in found}
    for event in events:
        if bodies.get(event["_id"], event["body"]) != event["body"]:
            raise _conflict(event)
    missing = [event for event in events if event["_id"] not in bodies]
    for event in missing[:1]:  # the one that stopped the ordered insert
        same = await server[schema.EVENTS].find_one({"stream": event["stream"], "version": event["version"]})
        if same is not None and same["_id"] != event["_id"]:
            raise _conflict(event)
    return missing


def _conflict(event: Document) -> ConflictError:
    return ConflictError(event["stream"], event["version"], event["_id"])


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
            if not _only_duplicates(exc):  # a duplicate is a newer document, which is kept
                raise


def _only_duplicates(exc: BulkWriteError) -> bool:
    failed = exc.details.get("writeErrors") or []
    is_confirmed = not exc.details.get("writeConcernErrors")
    return bool(failed) and is_confirmed and all(error.get("code") == DUPLICATE for error in failed)


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


# --- retention ---


async def prune(server: Server, before: datetime) -> int:
    """Delete executions that ended before that moment, with their events, log lines and actions; return how many."""
    await _keep_head(server)
    pruned = 0
    while ids := await _ended(server, before, {}):
        keys = [execution_key(execution_id) for execution_id in ids]
        async with server.writing(WORK_LIMIT_S):
            await server[schema.LINES].delete_many({"execution_id": {"$in": ids}})
            await server[schema.HISTORY].delete_many({"execution_id": {"$in": ids}})
            await server[schema.EVENTS].delete_many({"stream": {"$in": ids}})
            # Last, so that the next call completes an interrupted one.
            await server[schema.EXECUTIONS].delete_many({"_id": {"$in": keys}})
        pruned += len(ids)
    return pruned


async def prune_progress(server: Server, before: datetime) -> int:
    """Delete the progress events of executions that ended before that moment; return how many events."""
    await _keep_head(server)
    pruned = 0
    while ids := await _ended(server, before, {"gnomon.is_without_progress": None}):
        keys = [execution_key(execution_id) for execution_id in ids]
        async with server.writing(WORK_LIMIT_S):
            deleted = await server[schema.EVENTS].delete_many({"stream": {"$in": ids}, "type": "progress"})
            await server[schema.EXECUTIONS].update_many(
                {"_id": {"$in": keys}}, {"$set": {"gnomon.is_without_progress": True}}
            )
        pruned += deleted.deleted_count
    return pruned


async def _ended(server: Server, before: datetime, more: Document) -> list[str]:
    """Find some executions that ended before a moment, with the index of status and timestamp."""
    where = {
        "status": {"$in": sorted(FINAL)},
        "timestamp": {"$lte": millis(before)},
        "gnomon.ended": {"$lt": micros(before)},
    }
    async with server.writing(WORK_LIMIT_S):
        found = server[schema.EXECUTIONS].find({**where, **more}, {"_id": 1}).limit(PRUNED_AT_ONCE)
        return [str(document["_id"]) for document in await found.to_list()]


async def _keep_head(server: Server) -> None:
    """Record the highest position before events are deleted: it must never be assigned again."""
    head = await read_head(server)
    async with server.writing():
        await server[schema.KERNEL].update_one({"_id": "log"}, {"$max": {"head": head}})


async def read_head(server: Server) -> int:
    """Return the highest position ever assigned."""
    async with server.reading():
        newest = await server[schema.EVENTS].find({}, {"_id": 1}).sort("_id", -1).limit(1).to_list()
        log = await server[schema.KERNEL].find_one({"_id": "log"}) or {}
    return max([int(document["_id"]) for document in newest] + [int(log.get("head", 0))])
