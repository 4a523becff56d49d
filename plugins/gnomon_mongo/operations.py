"""All that is written to the server: events in order, then the views that they lead to; every step can be repeated."""

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
from gnomon_mongo.server import WORK_PATIENCE, Server
from gnomon_mongo.write_batch import WriteBatch

SENT_AT_ONCE = 250
SENT_BYTES = 8 * 1024 * 1024
"""What is sent in one call: encoding more of it would hold up the event loop, and the server takes 48 MB."""
PRUNED_AT_ONCE = 100
"""Executions that are forgotten in one step."""
BETWEEN_LOOKS = 0.02
"""Seconds until a repeated write looks again how far the one before has come."""


async def write(server: Server, batch: WriteBatch) -> None:
    """Put an batch where it belongs. What is there already is left: writing once more what may be written is harmless.

    ConflictError where the log has another event at one of its places; nothing at or after that is written.
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
        # In order: a reader sees the first ones before the later ones, and none after one that could not be written.
        # A write of ours that had no answer may be going on at the server right now: what is in the way and cannot be
        # seen yet is no conflict. Should it never be seen, the time limit of the write ends this.
        missing = events
        while not await _inserted(server[schema.EVENTS], missing):
            if not (missing := await _missing(server, events)):
                return
            await asyncio.sleep(BETWEEN_LOOKS)


async def _inserted(collection: Collection, events: Sequence[Document]) -> bool:
    """Insert in order; False where something was in the way."""
    try:
        await collection.insert_many(events, ordered=True)
    except BulkWriteError as exc:
        if _only_duplicates(exc):
            return False
        raise
    return True


async def _missing(server: Server, events: Sequence[Document]) -> list[Document]:
    """Tell which events are not in the log yet; ConflictError where others are in their places, or they in others."""
    place = {"$gte": events[0]["_id"], "$lte": events[-1]["_id"]}
    found = await server[schema.EVENTS].find({"_id": place}).to_list()
    bodies = {document["_id"]: document["body"] for document in found}
    for event in events:
        if bodies.get(event["_id"], event["body"]) != event["body"]:
            raise _conflict(event)
    missing = [event for event in events if event["_id"] not in bodies]
    for event in missing[:1]:  # what an ordered insert could not get past
        same = await server[schema.EVENTS].find_one({"stream": event["stream"], "version": event["version"]})
        if same is not None and same["_id"] != event["_id"]:
            raise _conflict(event)
    return missing


def _conflict(event: Document) -> ConflictError:
    return ConflictError(event["stream"], event["version"], event["_id"])


async def _put(
    server: Server, collection: str, documents: Sequence[Document], grows: str, *, again: bool = False
) -> None:
    """Put whole documents in place of older ones: those in which the field `grows` is lower, or with `again` equal."""
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
            if not _only_duplicates(exc):  # one of those is a newer document that stays: the filter did not find it
                raise


def _only_duplicates(exc: BulkWriteError) -> bool:
    failed = exc.details.get("writeErrors") or []
    is_confirmed = not exc.details.get("writeConcernErrors")
    return bool(failed) and is_confirmed and all(error.get("code") == DUPLICATE for error in failed)


def _portions(documents: Sequence[Document]) -> Iterator[list[Document]]:
    """Part documents into what one call can carry."""
    portion: list[Document] = []
    size = 0
    for document in documents:
        weight = _weight(document)
        if portion and (len(portion) >= SENT_AT_ONCE or size + weight > SENT_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(document)
        size += weight
    if portion:
        yield portion


def _weight(document: Document) -> int:
    """Guess the bytes of a document from its longest texts."""
    texts = [*document.values(), *document.get("gnomon", {}).values()]
    return sum(len(text) for text in texts if isinstance(text, str | bytes))


# --- forgetting ---


async def prune(server: Server, before: datetime) -> int:
    """Forget executions that ended before that moment, with their events, log lines and actions; return how many."""
    await _keep_head(server)
    pruned = 0
    while ids := await _ended(server, before, {}):
        keys = [execution_key(execution_id) for execution_id in ids]
        async with server.writing(WORK_PATIENCE):
            await server[schema.LINES].delete_many({"execution_id": {"$in": ids}})
            await server[schema.HISTORY].delete_many({"execution_id": {"$in": ids}})
            await server[schema.EVENTS].delete_many({"stream": {"$in": ids}})
            # The last, so that whatever stops it between is made good by the next time.
            await server[schema.EXECUTIONS].delete_many({"_id": {"$in": keys}})
        pruned += len(ids)
    return pruned


async def prune_progress(server: Server, before: datetime) -> int:
    """Forget the progress events of executions that ended before that moment; return how many events."""
    await _keep_head(server)
    pruned = 0
    while ids := await _ended(server, before, {"gnomon.is_without_progress": None}):
        keys = [execution_key(execution_id) for execution_id in ids]
        async with server.writing(WORK_PATIENCE):
            deleted = await server[schema.EVENTS].delete_many({"stream": {"$in": ids}, "type": "progress"})
            await server[schema.EXECUTIONS].update_many(
                {"_id": {"$in": keys}}, {"$set": {"gnomon.is_without_progress": True}}
            )
        pruned += deleted.deleted_count
    return pruned


async def _ended(server: Server, before: datetime, more: Document) -> list[str]:
    """Find some executions that ended before a moment, by the index of status and start."""
    where = {
        "status": {"$in": sorted(FINAL)},
        "timestamp": {"$lte": millis(before)},
        "gnomon.ended": {"$lt": micros(before)},
    }
    async with server.writing(WORK_PATIENCE):
        found = server[schema.EXECUTIONS].find({**where, **more}, {"_id": 1}).limit(PRUNED_AT_ONCE)
        return [str(document["_id"]) for document in await found.to_list()]


async def _keep_head(server: Server) -> None:
    """Remember the highest position before events are deleted: it must never be given again."""
    head = await read_head(server)
    async with server.writing():
        await server[schema.KERNEL].update_one({"_id": "log"}, {"$max": {"head": head}})


async def read_head(server: Server) -> int:
    """Return the highest position ever given."""
    async with server.reading():
        newest = await server[schema.EVENTS].find({}, {"_id": 1}).sort("_id", -1).limit(1).to_list()
        log = await server[schema.KERNEL].find_one({"_id": "log"}) or {}
    return max([int(document["_id"]) for document in newest] + [int(log.get("head", 0))])
