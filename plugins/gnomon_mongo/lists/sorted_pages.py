"""Pages of executions in another order than the newest first: the server sorts all that match, and keeps one page."""

from __future__ import annotations

from typing import Any

from bson import ObjectId

from gnomon.domain.records import ExecutionQuery, Page
from gnomon.domain.run_sorting import SortKey
from gnomon.stores.microseconds import to_micros
from gnomon.stores.page_cursor import Cursor, cursor_of, write_cursor
from gnomon_mongo import schema
from gnomon_mongo.documents.conversion import execution_of, millis
from gnomon_mongo.documents.foreign_documents import check_own
from gnomon_mongo.drivers import Document
from gnomon_mongo.lists.dated_rows import Start, find_start, rows_of
from gnomon_mongo.server import LIST_LIMIT_S, Server

FIELDS: dict[SortKey, str] = {
    "job": "job_id",
    "status": "status",
    "duration": "execution_time",
    "late": "gnomon.late",
    "progress": "gnomon.progress",
    "by": "actor",
}
EXACT = "gnomon.timestamp"


async def sorted_page(server: Server, where: Document, query: ExecutionQuery, below: Cursor | None, total: int) -> Page:
    """Read a page; those without a value follow the others, newest first."""
    wanted = max(query.limit, 0)
    if query.sort.key == "started":
        rows = await _oldest_first(server, where, query, below, wanted + 1)
    else:
        rows = await _by_value(server, where, query, below, wanted + 1)
    items = [execution_of(row) for row in rows[:wanted]]
    has_more = bool(items) and len(rows) > wanted
    return Page(items, total, write_cursor(cursor_of(items[-1], query.sort)) if has_more else None)


async def _oldest_first(
    server: Server, where: Document, query: ExecutionQuery, below: Cursor | None, limit: int
) -> list[Document]:
    if below is not None:
        where = {"$and": [where, _beyond(below, "$gt")]}
    return await _read(server, where, [(EXACT, 1), ("_id", 1)], query.offset, limit)


async def _by_value(
    server: Server, where: Document, query: ExecutionQuery, below: Cursor | None, limit: int
) -> list[Document]:
    field, direction = FIELDS[query.sort.key], -1 if query.sort.descending else 1
    valued = {"$and": [where, {field: {"$nin": [None, ""]}}]}
    missing = {"$and": [where, {field: {"$in": [None, ""]}}]}
    rows: list[Document] = []
    offset, start = max(query.offset, 0), None
    if below is None or below.value is not None:
        rest = valued
        if below is not None:
            operator = "$lt" if query.sort.descending else "$gt"
            same = {"$and": [{field: below.value}, _beyond(below, "$lt")]}
            rest = {"$and": [valued, {"$or": [{field: {operator: below.value}}, same]}]}
        rows = await _read(server, rest, [(field, direction), (EXACT, -1), ("_id", -1)], offset, limit)
        if offset and not rows:
            async with server.reading(LIST_LIMIT_S):
                offset -= await server[schema.EXECUTIONS].count_documents(valued)
        else:
            offset = 0
    else:
        start = Start(millis(below.timestamp), offset, below)
        offset = 0
    if len(rows) >= limit:
        return rows
    if offset > 0:
        start = await find_start(server, missing, offset)
        if start is None:
            return rows
    return rows + await rows_of(server, missing, start, limit - len(rows))


def _beyond(place: Cursor, operator: str) -> Document:
    """Return the condition that an execution is newer, or older, than the last one of the page before."""
    exact = to_micros(place.timestamp)
    return {"$or": [{EXACT: {operator: exact}}, {EXACT: exact, "_id": {operator: ObjectId(place.id)}}]}


async def _read(
    server: Server, where: Document, order: list[tuple[str, Any]], offset: int, limit: int
) -> list[Document]:
    async with server.reading(LIST_LIMIT_S):
        cursor = server[schema.EXECUTIONS].find(where).sort(order).skip(max(offset, 0)).limit(limit)
        found = await cursor.to_list(None)
    check_own(server, schema.EXECUTIONS, found)
    return found
