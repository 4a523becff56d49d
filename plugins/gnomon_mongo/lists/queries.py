"""All reads from the server. Lists use an index in their order, so the cost of a page depends on its size only."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable
from datetime import datetime

import msgspec
from bson import ObjectId

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.records import ActionPage, ActionQuery, Bounds, Checkpoint, ExecutionQuery, JobScope, LogLine, Page
from gnomon.domain.run_sorting import NEWEST_FIRST
from gnomon.stores.microseconds import to_micros
from gnomon.stores.page_cursor import Cursor, read_cursor, write_cursor
from gnomon_mongo import schema
from gnomon_mongo.documents.conversion import (
    action_of_document,
    checkpoint_of,
    event_of,
    execution_key,
    execution_of,
    job_of,
    line_of,
    millis,
)
from gnomon_mongo.documents.foreign_documents import ForeignDocumentError, is_own, own, own_only
from gnomon_mongo.drivers import Document
from gnomon_mongo.lists.dated_rows import Start, find_start, newest_first, rows_of
from gnomon_mongo.lists.sorted_pages import sorted_page
from gnomon_mongo.server import LIST_LIMIT_S, Server

READ_AT_ONCE = 5_000
"""Events of one call; longer reads are split into several."""


async def read(server: Server, after: int, limit: int) -> list[Event]:
    """Read events by position."""
    found: list[Event] = []
    while (wanted := min(limit - len(found), READ_AT_ONCE)) > 0:
        async with server.reading(LIST_LIMIT_S):
            cursor = server[schema.EVENTS].find({"_id": {"$gt": after}}).sort("_id", 1).limit(wanted)
            page = [event_of(document) for document in await cursor.to_list(None)]
        found += page
        if len(page) < wanted:
            break
        after = page[-1].position
    return found


async def stream(server: Server, name: str, after: int = 0) -> list[Event]:
    """Read the events of one stream behind this version."""
    where = {"stream": name, "version": {"$gt": after}} if after else {"stream": name}
    async with server.reading(LIST_LIMIT_S):
        cursor = server[schema.EVENTS].find(where).sort([("stream", 1), ("version", 1)])
        return [event_of(document) for document in await cursor.to_list(None)]


async def job_events(server: Server, job_id: str, since: datetime, until: datetime) -> list[Event]:
    """Read the events of a job with since <= at < until, without progress."""
    where = {"job_id": job_id, "at": {"$gte": millis(since), "$lte": millis(until)}, "type": {"$ne": "progress"}}
    async with server.reading(LIST_LIMIT_S):
        documents = await server[schema.EVENTS].find(where).to_list(None)
    events = (event_of(document) for document in documents)  # dates are truncated to ms, so both ends are checked again
    return sorted((event for event in events if since <= event.at < until), key=lambda event: event.position)


IDS_A_QUERY = 10_000
"""Ids of jobs in one query, which may have 16 MiB; an id has up to 128 bytes."""


async def execution(server: Server, execution_id: str) -> Execution | None:
    """Read one execution."""
    async with server.reading():
        document = await server[schema.EXECUTIONS].find_one({"_id": execution_key(execution_id)})
    return execution_of(document) if document is not None and is_own(schema.EXECUTIONS, document) else None


async def executions_by_id(server: Server, ids: Iterable[str]) -> dict[str, Execution]:
    """Read these executions."""
    keys = [execution_key(one) for one in ids]
    found: list[Document] = []
    for start in range(0, len(keys), IDS_A_QUERY):
        async with server.reading(LIST_LIMIT_S):
            part = {"_id": {"$in": keys[start : start + IDS_A_QUERY]}}
            found += await server[schema.EXECUTIONS].find(part).to_list(None)
    return {str(document["_id"]): execution_of(document) for document in found if is_own(schema.EXECUTIONS, document)}


async def jobs(server: Server, job_ids: Collection[str] | None = None, *, removed: bool = True) -> list[JobState]:
    """Read the states of all jobs or of some, by id."""
    found = await job_documents(server, job_ids, removed=removed)
    return sorted((job_of(document) for document in found), key=lambda state: state.job_id)


async def job_documents(server: Server, job_ids: Collection[str] | None, *, removed: bool = True) -> list[Document]:
    """Read the documents of all jobs or of some."""
    where, found = own(schema.METADATA), []
    if not removed:
        where = {"$and": [where, {"removed": {"$ne": True}}]}
    parts = [where]
    if job_ids is not None:
        ids = sorted(job_ids)
        slices = (ids[start : start + IDS_A_QUERY] for start in range(0, len(ids), IDS_A_QUERY))
        parts = [{"$and": [where, {"_id": {"$in": part}}]} for part in slices]
    for part in parts:
        async with server.reading(LIST_LIMIT_S):
            found += await server[schema.METADATA].find(part).to_list(None)
    return found


async def actions(server: Server, query: ActionQuery) -> ActionPage:
    """Read a page of operators' actions, and count the matches."""
    names = ("job_id", "status", "action", "actor")
    where = own(schema.HISTORY) | {name: value for name in names if (value := getattr(query, name)) is not None}
    if query.scope is not None:
        where |= {"$and": [_in_scope(query.scope)]}
    times = {"$gte": query.since, "$lt": query.until}
    if bounds := {operator: to_micros(at) for operator, at in times.items() if at is not None}:
        where["gnomon.timestamp"] |= bounds
    async with server.reading(LIST_LIMIT_S):
        total = await server[schema.HISTORY].count_documents(where)
        if query.limit <= 0:
            return ActionPage([], total)
        cursor = server[schema.HISTORY].find(where).sort("_id", -1).skip(max(query.offset, 0)).limit(query.limit)
        return ActionPage([action_of_document(document) for document in await cursor.to_list(None)], total)


async def checkpoint_names(server: Server) -> list[str]:
    """Read the names of all checkpoints."""
    async with server.reading():
        found = await server[schema.CHECKPOINTS].find({}, {"_id": 1}).sort("_id", 1).to_list(None)
    return [str(document["_id"]) for document in found]


async def checkpoint(server: Server, name: str) -> Checkpoint | None:
    """Read a checkpoint."""
    async with server.reading():
        document = await server[schema.CHECKPOINTS].find_one({"_id": name})
    return checkpoint_of(document) if document else None


async def log(server: Server, execution_id: str, after: int, limit: int) -> list[LogLine]:
    """Read log lines of a run by number."""
    if limit <= 0:
        return []
    where = {"execution_id": execution_id, "number": {"$gt": after}}
    async with server.reading(LIST_LIMIT_S):
        cursor = server[schema.LINES].find(where).sort([("execution_id", 1), ("number", 1)]).limit(limit)
        return [line_of(document) for document in await cursor.to_list(None)]


# --- lists of executions ---

LATE, DURATION = "gnomon.late", "execution_time"
OPERATORS = {"least": "$gte", "above": "$gt", "most": "$lte", "below": "$lt"}
"""Of the fields of Bounds."""


def parse_cursor(query: ExecutionQuery) -> Cursor | None:
    """Parse the query's cursor; raise ValueError if it is not valid."""
    if query.cursor is None:
        return None
    cursor = read_cursor(query.cursor, query.sort)
    if not ObjectId.is_valid(cursor.id):
        raise ValueError(f"{query.cursor!r} is not a valid cursor: pass the `next` of the previous page unchanged")
    return cursor


async def executions(server: Server, query: ExecutionQuery, below: Cursor | None) -> Page:
    """Read a page, newest first, and count the matches.

    The indexes contain dates, which are truncated to milliseconds; executions of the same date are ordered here. So a
    page is read by date from the index, except for its first and last group, which are read separately.
    """
    try:
        page = await _executions(server, query, below)
    except ForeignDocumentError:
        page = await _executions(server, query, below)
    return page if query.counts else msgspec.structs.replace(page, total=len(page.items))


AT_ONCE = 16
"""Jobs whose newest executions are read concurrently."""


async def _newest_of_each_job(server: Server, query: ExecutionQuery, most: int) -> Page:
    """Read the newest matches of each job from the index of that job, which has them in order.

    One pipeline for all jobs would read every execution, or need a join that only newer servers do by the index.
    """
    where = own_only(server, schema.EXECUTIONS, _where(query))
    if not query.hidden:
        where = {"$and": [where, {"gnomon.hidden": None}]}
    job_ids: list[str] = [] if query.job_id is None else [query.job_id]
    if query.job_id is None:
        async with server.reading(LIST_LIMIT_S):
            job_ids = await server[schema.EXECUTIONS].distinct("job_id", own(schema.EXECUTIONS))
    job_ids = [job_id for job_id in job_ids if all(scope.has(job_id) for scope in query.scopes)]
    rows: list[Document] = []
    for start in range(0, len(job_ids), AT_ONCE):
        parts = [{"$and": [{"job_id": job_id}, where]} for job_id in job_ids[start : start + AT_ONCE]]
        for found in await asyncio.gather(*(rows_of(server, part, None, most) for part in parts)):
            rows += found[:most]
    newest = [execution_of(row) for row in newest_first(rows)]
    return Page(newest, len(newest), None)


async def _executions(server: Server, query: ExecutionQuery, below: Cursor | None) -> Page:
    if query.per_job is not None:
        return await _newest_of_each_job(server, query, query.per_job)
    where = own_only(server, schema.EXECUTIONS, _where(query))
    total = await _count(server, where, query) if query.counts else 0
    if not query.hidden:
        where = {"$and": [where, {"gnomon.hidden": None}]}
    if query.sort != NEWEST_FIRST:
        return await sorted_page(server, where, query, below, total)
    wanted = max(query.limit, 0)
    start = Start(millis(below.timestamp), max(query.offset, 0), below) if below else None
    if start is None and query.offset > 0:
        start = await find_start(server, where, query.offset)
        if start is None:
            return Page([], total, None)
    rows = await rows_of(server, where, start, wanted + 1)
    items = [execution_of(row) for row in rows[:wanted]]
    more = bool(items) and len(rows) > wanted
    return Page(items, total, write_cursor(Cursor(items[-1].timestamp, items[-1].id)) if more else None)


async def _count(server: Server, where: Document, query: ExecutionQuery) -> int:
    """Count from the indexes alone: all matches, minus the hidden ones, which are few."""
    async with server.reading(LIST_LIMIT_S):
        total = await server[schema.EXECUTIONS].count_documents(where)
        if query.hidden:
            return total
        return total - await server[schema.EXECUTIONS].count_documents({"$and": [where, {"gnomon.hidden": True}]})


def _where(query: ExecutionQuery) -> Document:
    """Return the filters of a query. One of them is always the prefix of an index that continues with the timestamp."""
    where: Document = {}
    if query.job_id is not None:
        where["job_id"] = query.job_id
    if query.status:
        where["status"] = {"$in": list(query.status)}
    if query.is_manual is not None:
        where["is_manual"] = query.is_manual
    if query.labels:
        where["labels"] = {"$all": list(query.labels)}
    if query.actors:
        where["actor"] = {"$in": list(query.actors)}
    where |= {
        field: _in_bounds(bounds)
        for field, bounds in ((LATE, query.late), (DURATION, query.duration))
        if bounds is not None
    }
    if query.text:
        where |= _with_text(query.text, where)
    if not where.keys() - {"actor", DURATION}:
        where["is_manual"] = {"$in": [False, True]}
    if query.scopes:
        where |= {"$and": [_in_scope(scope) for scope in query.scopes]}
    return where | _in_time(query)


def _in_bounds(bounds: Bounds) -> Document:
    given = {operator: getattr(bounds, name) for name, operator in OPERATORS.items()}
    return {"$ne": None} | {operator: value for operator, value in given.items() if value is not None}


def _in_scope(scope: JobScope) -> Document:
    """Return the condition that a document is about a job of the scope."""
    matches: list[Document] = [{"job_id": {"$in": sorted(scope.ids)}}]
    return {"$or": [*matches, *({"job_id": {"$regex": _regex(pattern)}} for pattern in scope.patterns)]}


def _regex(pattern: str) -> str:
    """Translate a pattern of fnmatch. fnmatch.translate itself uses what only Python's expressions have."""
    parts = re.findall(r"\[!?\]?[^\]]*\]|.", pattern)
    words = {"*": ".+" if pattern == "*" else ".*", "?": "."}
    return f"^{''.join(words.get(part) or _set(part) for part in parts)}$"


def _set(part: str) -> str:
    if len(part) < 2:
        return re.escape(part)
    inner = part[1:-1]
    return f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"


def _with_text(text: str, where: Document) -> Document:
    pattern = re.escape(text.casefold()).replace("\0", r"\x00")  # a pattern cannot contain the character itself
    found: Document = {"gnomon.error": {"$regex": pattern}}
    if "job_id" not in where and "status" not in where:
        found["status"] = "failed"  # only these have an error message, and they are few
    return found


def _in_time(query: ExecutionQuery) -> Document:
    """Bound the dates for the index, and the microseconds for the exact ends."""
    dates: Document = {}
    exact: Document = {}
    if query.since is not None:
        dates["$gte"], exact["$gte"] = millis(query.since), to_micros(query.since)
    if query.until is not None:
        dates["$lte"], exact["$lt"] = millis(query.until), to_micros(query.until)
    return {"timestamp": dates, "gnomon.timestamp": exact} if dates else {}
