"""Executions newest first, read by date from an index whose dates are truncated to milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from bson import ObjectId

from gnomon.stores.microseconds import to_micros
from gnomon.stores.page_cursor import Cursor
from gnomon_mongo import schema
from gnomon_mongo.documents.foreign_documents import check_own
from gnomon_mongo.drivers import Document
from gnomon_mongo.server import LIST_LIMIT_S, Server


class Start(NamedTuple):
    """Where a page starts: within the group of executions of one date, to the millisecond."""

    date: datetime
    skip: int = 0
    below: Cursor | None = None


async def rows_of(server: Server, where: Document, start: Start | None, limit: int) -> list[Document]:
    """Read up to `limit` documents of executions, newest first, from the place where the page starts."""
    rows: list[Document] = []
    skip = 0
    if start is not None:
        rows, skip = await _part_of_group(server, where, start, limit)
        where = {"$and": [where, {"timestamp": {"$lt": start.date}}]}
    if len(rows) >= limit:
        return rows
    wanted = limit - len(rows) + skip
    async with server.reading(LIST_LIMIT_S):
        cursor = server[schema.EXECUTIONS].find(where).sort("timestamp", -1).limit(wanted)
        found = await cursor.to_list(None)
    check_own(server, schema.EXECUTIONS, found)
    if len(found) < wanted:
        return rows + newest_first(found)[skip:]
    last = found[-1]["timestamp"]  # the limit may have cut its group
    found = newest_first([row for row in found if row["timestamp"] > last])
    found += await _group(server, where, Start(last), wanted - len(found))
    return rows + found[skip:]


async def find_start(server: Server, where: Document, offset: int) -> Start | None:
    """Find the group that an offset points into, from the index alone."""
    async with server.reading(LIST_LIMIT_S):
        cursor = server[schema.EXECUTIONS].find(where, {"timestamp": 1}).sort("timestamp", -1).skip(offset).limit(1)
        found = await cursor.to_list(None)
        if not found:
            return None
        date = found[0]["timestamp"]
        newer = await server[schema.EXECUTIONS].count_documents({"$and": [where, {"timestamp": {"$gt": date}}]})
    return Start(date, offset - newer)


async def _part_of_group(server: Server, where: Document, start: Start, limit: int) -> tuple[list[Document], int]:
    """Read the rows of the first group, and return how many are still to be skipped after it."""
    rows = await _group(server, where, start, limit + start.skip)
    return rows[start.skip :], max(start.skip - len(rows), 0)


async def _group(server: Server, where: Document, start: Start, limit: int) -> list[Document]:
    """Read executions of one date, newest first by the microsecond, then by id."""
    conditions: list[Document] = [where, {"timestamp": start.date}]
    if start.below is not None:
        exact = to_micros(start.below.timestamp)
        older = {"gnomon.timestamp": {"$lt": exact}}
        conditions.append({"$or": [older, {"gnomon.timestamp": exact, "_id": {"$lt": ObjectId(start.below.id)}}]})
    async with server.reading(LIST_LIMIT_S):
        cursor = server[schema.EXECUTIONS].find({"$and": conditions})
        found = await cursor.sort([("gnomon.timestamp", -1), ("_id", -1)]).limit(limit).to_list(None)
    check_own(server, schema.EXECUTIONS, found)
    return found


def newest_first(rows: Sequence[Document]) -> list[Document]:
    """Return documents newest first by the microsecond, then by id."""
    return sorted(rows, key=lambda row: (row["gnomon"]["timestamp"], str(row["_id"])), reverse=True)
