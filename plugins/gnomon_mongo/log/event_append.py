"""Appends events to the log: in one round trip, idempotently, and only behind the event that must precede them.

One ordered `update` command does all of it. Each event is an upsert whose filter is the event itself: if it is there
already it matches and nothing changes, if another event has its place the unique indexes reject it. The first statement
checks the term in the fence, the second the predecessor: each matches and changes nothing, or it tries to insert what a
unique index rejects, because the fence has it. An ordered command stops there, so a deposed kernel writes nothing, and
nothing is written on top of events that the database has lost, after a rollback or the restore of a backup.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from pymongo import ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError

from gnomon.domain.events import LOG_FORMAT
from gnomon.errors import ConflictError
from gnomon_mongo import schema
from gnomon_mongo.documents.write_batch import identity
from gnomon_mongo.drivers import Collection, Document
from gnomon_mongo.errors import only_duplicates, rejected_event
from gnomon_mongo.log.fence import FENCE_FIELDS, FENCE_POSITION, check_term, require_term
from gnomon_mongo.server import Server
from gnomon_shared_log.errors import LostEventsError
from gnomon_shared_log.ports.lease_row import Term

RECHECK_S = 0.02
"""Before a repeated append checks again how far the previous one has come."""
WITHHELD = "withheld"
"""The type of a placeholder in the log, for an event that the server rejected and that is kept aside."""


async def append_events(
    server: Server, events: Sequence[Document], after: Document | None, term: Term, limit_s: float | None = None
) -> None:
    """Append events of a term behind the one with the identity `after`; None: whatever precedes them.

    Raise LostEventsError if that event is missing, DeposedError if the log is open to another term, and ConflictError
    if it has another event at one of the places; nothing at or after the event in conflict is written.
    """
    async with server.writing(limit_s):
        # A duplicate may be an earlier attempt of ours that timed out here and still runs on the server: what is not
        # visible yet is not a conflict. If it never becomes visible, the time limit of the write ends the loop.
        while not await _appended_or_rejected(server, events, after, term):
            if after is not None:
                await check_event(server, after)
            await check_term(server, term)
            await _check_conflicts(server, events)
            await asyncio.sleep(RECHECK_S)


async def _appended_or_rejected(server: Server, events: Sequence[Document], after: Document | None, term: Term) -> bool:
    """Append in order; return False on a duplicate key, raise EventRejectedError for an event that is rejected."""
    try:
        return await _appended(server[schema.EVENTS], events, after, term)
    except BulkWriteError as exc:
        conditions = [None] if after is None else [None, None]
        rejected = rejected_event(exc, [*conditions, *events], server.address)
        if rejected is not None:
            raise rejected from exc
        raise


async def _appended(collection: Collection, events: Sequence[Document], after: Document | None, term: Term) -> bool:
    """Append in order; return False on a duplicate key."""
    requests = [require_term(term), *([] if after is None else [_require(after)]), *map(_upsert, events)]
    try:
        done = await collection.bulk_write(requests, ordered=True)
    except BulkWriteError as exc:
        if only_duplicates(exc):
            return False
        raise
    upserted = done.bulk_api_result.get("upserted") or []
    if any(one["_id"] == FENCE_POSITION for one in upserted):
        # The fence was missing: the whole collection is gone, with its indexes.
        before = [] if after is None else [after["_id"]]
        places = [FENCE_POSITION, *before, *(event["_id"] for event in events)]
        await collection.delete_many({"_id": {"$in": places}})
        return False
    return True


def _upsert(event: Document) -> UpdateOne:
    fields = {name: value for name, value in event.items() if name != "batch"}
    return UpdateOne(fields, {"$setOnInsert": {"batch": event["batch"]}}, upsert=True)


def _require(event: Document) -> UpdateOne:
    """Match the event with this identity, or fail: an upsert inserts only conditions that are equalities."""
    where: Document = {"_id": event["_id"]}
    where |= {name: {"$gte": event[name], "$lte": event[name]} for name in event if name != "_id"}
    return UpdateOne(where, {"$setOnInsert": FENCE_FIELDS}, upsert=True)


async def _check_conflicts(server: Server, events: Sequence[Document]) -> None:
    place = {"$gte": events[0]["_id"], "$lte": events[-1]["_id"]}
    found = await server[schema.EVENTS].find({"_id": place}).to_list(None)
    bodies = {document["_id"]: document["body"] for document in found}
    placeholders = {document["_id"]: document for document in found if document["type"] == WITHHELD}
    for event in events:
        if event["type"] != WITHHELD and identity(event) == _identity_of(placeholders.get(event["_id"])):
            await put_in_place(server, event)  # it was rejected once, and is not any more
            bodies[event["_id"]] = event["body"]
        if bodies.get(event["_id"], event["body"]) != event["body"]:
            raise _conflict(event)
    missing = [event for event in events if event["_id"] not in bodies]
    for event in missing[:1]:  # the one that stopped the ordered command
        same = await server[schema.EVENTS].find_one({"stream": event["stream"], "version": event["version"]})
        if same is not None and same["_id"] != event["_id"]:
            raise _conflict(event)


def placeholder(event: Document, problem: str) -> Document:
    """Return what takes the place of an event that the server rejects: readers see an event of an unknown type."""
    header = {name: event[name] for name in ("stream", "version", "node", "job_id")}
    body = {"type": WITHHELD, "position": event["_id"], **header, "at": _time_of(event), "log_format": LOG_FORMAT}
    body |= {"withheld_type": event["type"], "problem": problem}
    return {**event, "type": WITHHELD, "body": msgspec.json.encode(body).decode()}


def _time_of(event: Document) -> str:
    """Return the time of an event as its body has it, to the microsecond."""
    return str(msgspec.json.decode(event["body"])["at"])


def _identity_of(event: Document | None) -> Document | None:
    """Return the identity of an event, if there is one."""
    return identity(event) if event is not None else None


async def put_in_place(server: Server, event: Document) -> bool:
    """Put an event in the place of its placeholder; return whether that was there. For a caller that limits writes."""
    where = {"_id": event["_id"], "stream": event["stream"], "version": event["version"], "type": WITHHELD}
    done = await server[schema.EVENTS].bulk_write([ReplaceOne(where, event)])
    return bool(done.matched_count)


def _conflict(event: Document) -> ConflictError:
    return ConflictError(event["stream"], event["version"], event["_id"])


async def check_event(server: Server, event: Document) -> None:
    """Raise LostEventsError if the log does not have the event with this identity."""
    async with server.reading():
        found = await server[schema.EVENTS].find_one(event, {"_id": 1})
    if found is None:
        raise LostEventsError(server.log_name, event["_id"], await newest_position(server))


async def has_event(server: Server, position: int) -> bool:
    """Return whether the log has an event at a position."""
    async with server.reading():
        return await server[schema.EVENTS].find_one({"_id": position}, {"_id": 1}) is not None


async def newest_event(server: Server, fields: Document | None = None) -> Document | None:
    """Return the newest event that is in the log, or only these fields of it."""
    async with server.reading():
        numbered = {"_id": {"$gt": FENCE_POSITION}}  # a document of another program has no number
        found: list[Any] = await server[schema.EVENTS].find(numbered, fields).sort("_id", -1).limit(1).to_list(None)
    return next(iter(found), None)


async def newest_position(server: Server) -> int:
    """Return the position of the newest event that is in the log, 0 without any."""
    newest = await newest_event(server, {"_id": 1})
    return int(newest["_id"]) if newest is not None else 0
