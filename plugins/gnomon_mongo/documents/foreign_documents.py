"""Documents of other programs in the collections of the log: never read as its own, and changed only by an import.

An application that this log takes the place of may have left its history in the same collections. The documents of the
log have a field that others lack. Lists filter by it only while there are others: a filter by a field that no index has
makes the server read every document that it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.errors import StoreUnavailableError
from gnomon.logs import get_logger
from gnomon.tasks import at_once
from gnomon_mongo import schema
from gnomon_mongo.drivers import Document
from gnomon_mongo.server import LIST_LIMIT_S, Server

log = get_logger("gnomon.mongo")

MARKS: dict[str, dict[str, str]] = {
    schema.EXECUTIONS: {"gnomon.timestamp": "number"},
    schema.METADATA: {"position": "number", "state": "string"},
    schema.HISTORY: {"gnomon.timestamp": "number"},
}
"""The fields that every document of the log has, by collection, with their BSON types; others lack one of them."""
_CLASSES: dict[str, type] = {"number": int, "string": str}
SEARCH_LIMIT_S = 0.5
"""For the search at a start, which reads all documents of a log without any others. In a log that is too large for it,
they are noticed as soon as a list meets one."""


class ForeignDocumentError(Exception):
    """A list has met a document of another program: it has to be read again, with a filter."""


def own(collection: str) -> Document:
    """Return the filter for the documents of the log."""
    return {name: {"$type": kind} for name, kind in MARKS[collection].items()}


def foreign(collection: str) -> Document:
    """Return the filter for the documents of other programs."""
    return {"$or": [{name: {"$not": {"$type": kind}}} for name, kind in MARKS[collection].items()]}


def is_own(collection: str, document: Document) -> bool:
    """Return whether a document is one of the log."""
    return all(_has(document, name, kind) for name, kind in MARKS[collection].items())


def _has(document: Document, name: str, kind: str) -> bool:
    value: Any = document
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return isinstance(value, _CLASSES[kind]) and not isinstance(value, bool)


def own_only(server: Server, collection: str, where: Document) -> Document:
    """Restrict a filter to the documents of the log, where there are others."""
    return {"$and": [where, own(collection)]} if collection in server.foreign else where


def check_own(server: Server, collection: str, documents: Iterable[Document]) -> None:
    """Raise ForeignDocumentError, and remember it, if one of the documents is not the log's."""
    if not all(is_own(collection, document) for document in documents):
        server.foreign.add(collection)
        raise ForeignDocumentError


async def find_foreign(server: Server) -> None:
    """Find out in which collections there are documents of other programs."""
    found = await at_once(*(_has_foreign(server, collection) for collection in MARKS))
    server.foreign = {collection for collection, has_some in zip(MARKS, found, strict=True) if has_some}


async def _has_foreign(server: Server, collection: str) -> bool:
    try:
        async with server.reading(SEARCH_LIMIT_S):
            return await server[collection].find_one(foreign(collection), {"_id": 1}) is not None
    except StoreUnavailableError:
        return False


async def count_foreign(server: Server) -> dict[str, int]:
    """Count the documents of other programs by collection, those that were moved out of the way included."""
    counts = {}
    for collection in MARKS:
        async with server.reading(LIST_LIMIT_S):
            counts[collection] = await server[collection].count_documents(foreign(collection))
    async with server.reading(LIST_LIMIT_S):
        counts[schema.METADATA] += await server[schema.SET_ASIDE].count_documents({})
    return {collection: count for collection, count in counts.items() if count}


async def make_way(server: Server) -> None:
    """Move metadata of other programs to another collection if they are in the way of the log's documents.

    That is the case where one has the id of a job as its `_id`, or where another program's unique index lets only one
    document have the id of a job. An import takes them from there.
    """
    where = foreign(schema.METADATA)
    async with server.reading(LIST_LIMIT_S):
        indexes = await server[schema.METADATA].index_information()
        found = await server[schema.METADATA].find(where).to_list(None)
    is_narrow = any(index.get("unique") and name != "_id_" for name, index in indexes.items())
    moved = found if is_narrow else [document for document in found if isinstance(document["_id"], str)]
    for document in moved:
        async with server.writing():
            await server[schema.SET_ASIDE].replace_one({"_id": document["_id"]}, document, upsert=True)
            await server[schema.METADATA].delete_one({"$and": [{"_id": document["_id"]}, where]})
    if moved:
        log.warning("documents of another program were in the way and are moved", count=len(moved), to=schema.SET_ASIDE)


def describe(counts: dict[str, int]) -> str:
    """Return what there is of other programs, and what to do about it."""
    found = ", ".join(f"{count:,} in {collection}" for collection, count in counts.items())
    return f"documents of another program: {found}; `gnomon mongo import` takes them over as history"
