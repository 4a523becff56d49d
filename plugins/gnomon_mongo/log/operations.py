"""All writes to the server: events in order, then the views folded from them. Every step is idempotent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pymongo import DeleteMany, InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError

from gnomon.errors import StoreUnavailableError
from gnomon_mongo import schema
from gnomon_mongo.documents.foreign_documents import MARKS
from gnomon_mongo.documents.rejected_documents import Rejected, RejectedDocuments
from gnomon_mongo.documents.write_batch import WriteBatch, encode_identity, identity
from gnomon_mongo.drivers import Document
from gnomon_mongo.errors import DUPLICATE, is_rejection
from gnomon_mongo.log.event_append import append_events, newest_event, newest_position, put_in_place
from gnomon_mongo.log.lease_table import lease_row_of
from gnomon_mongo.server import Server
from gnomon_shared_log.errors import Refusal
from gnomon_shared_log.lease.lease_watch import LeaseWatch
from gnomon_shared_log.ports.lease_row import Term
from gnomon_shared_log.ports.log_table import LogEnd

CALL_DOCUMENTS = 250
CALL_BYTES = 8 * 1024 * 1024
"""The limits of one call: encoding more would block the event loop, and the server accepts 48 MB."""
FEWEST_DOCUMENTS = 8
QUICK = 4
"""A call that took less than this part of its time limit may be followed by a larger one."""


_GROWS = {
    schema.EXECUTIONS: ("version", "$lt"),
    schema.METADATA: ("position", "$lte"),
    schema.CHECKPOINTS: ("position", "$lte"),
}
"""The field in which a newer view is greater, and how an older one compares."""


class CallSize:
    """How many events one call appends: fewer after one that took too long, more again after batches of quick ones.

    Otherwise a slow server would never confirm what waits, because more waits with each attempt.
    """

    def __init__(self) -> None:
        self.most = CALL_DOCUMENTS

    def shrink(self, events: int) -> None:
        """Note a call with so many events that was not confirmed in time."""
        self.most = max(events // 4, FEWEST_DOCUMENTS)

    def grow(self, slowest_s: float, limit_s: float) -> None:
        """Note a batch that was confirmed, with the duration of its slowest call."""
        if slowest_s < limit_s / QUICK:
            self.most = min(2 * self.most, CALL_DOCUMENTS)


async def write_events(
    server: Server, batch: WriteBatch, term: Term, limit_s: float | None = None, size: CallSize | None = None
) -> None:
    """Write the events of a batch in this term, in one round trip unless they are many.

    What is there already is kept, so writing them again is harmless. Raise DeposedError if the term is over,
    LostEventsError if the event before the first one is missing, ConflictError if the log has another event at one of
    the places; nothing at or after that is written. Raise EventRejectedError for the first event that the server
    rejects; those before it are written.
    """
    after, size, slowest_s = batch.after, size or CallSize(), 0.0
    for some in _portions(batch.events, size.most):
        began = time.monotonic()
        try:
            await append_events(server, some, after, term, limit_s)
        except StoreUnavailableError:
            size.shrink(len(some))
            raise
        slowest_s = max(slowest_s, time.monotonic() - began)
        after = identity(some[-1])
    size.grow(slowest_s, limit_s or server.timeout)


async def write_rest(server: Server, batch: WriteBatch, limit_s: float | None = None) -> list[Rejected]:
    """Write views, checkpoints and log lines; return those that the server has rejected."""
    documents = {
        schema.EXECUTIONS: batch.executions,
        schema.METADATA: batch.jobs,
        schema.CHECKPOINTS: batch.checkpoints,
        schema.HISTORY: batch.actions,
        schema.LINES: batch.lines,
    }
    # At once: the views are independent of each other, so all of them cost one round trip.
    writes = [
        write_views(server, collection, some, limit_s)
        for collection, all_ in documents.items()
        for some in _portions(all_)
    ]
    answers = await asyncio.gather(*writes, return_exceptions=True)
    for problem in answers:
        if isinstance(problem, BaseException):
            raise problem
    await _forget_lines(server, batch)
    return [one for rejected in answers if not isinstance(rejected, BaseException) for one in rejected]


async def retry(server: Server, kept: RejectedDocuments) -> list[Rejected]:
    """Write all documents that are kept aside again; return those that are rejected again."""
    still = []
    for one in await kept.load():
        if again := await write_again(server, one):
            still += again
        else:
            await kept.remove(one.number)
    return still


async def write_again(server: Server, one: Rejected) -> list[Rejected]:
    """Write a rejected document again; return it if it is rejected again. An event replaces its placeholder."""
    if one.collection != schema.EVENTS:
        return await write_views(server, one.collection, [one.document])
    try:
        async with server.writing():
            await put_in_place(server, one.document)
    except Refusal as exc:
        return [Rejected(one.collection, one.document, str(exc))]
    return []


async def write_views(
    server: Server, collection: str, documents: Sequence[Document], limit_s: float | None = None
) -> list[Rejected]:
    """Write documents other than events, newer ones in place of older ones; return the rejected ones."""
    requests = [_request(collection, document) for document in documents]
    try:
        async with server.writing(limit_s):
            try:
                await server[collection].bulk_write(requests, ordered=False)
            except BulkWriteError as exc:
                return _rejected(exc, collection, documents)
    except Refusal as exc:  # all of them, such as for a permission that is missing
        await _check_permission(server)
        return [Rejected(collection, document, str(exc)) for document in documents]
    return []


async def _check_permission(server: Server) -> None:
    """Raise Refusal if the server refuses writes to the log, too: then nothing is wrong with the documents."""
    async with server.writing():
        await server[schema.EVENTS].delete_one({"_id": -1})  # matches nothing, but needs the permission


def _request(collection: str, document: Document) -> Any:
    if collection in _GROWS:
        field, older = _GROWS[collection]
        return ReplaceOne({"_id": document["_id"], field: {older: document[field]}}, document, upsert=True)
    if collection == schema.LINES:
        return ReplaceOne({name: document[name] for name in ("execution_id", "number")}, document, upsert=True)
    return InsertOne(document)


def _rejected(exc: BulkWriteError, collection: str, documents: Sequence[Document]) -> list[Rejected]:
    """Return the documents that were rejected. A duplicate is a newer document, which is kept."""
    failed = [error for error in exc.details.get("writeErrors") or [] if not _is_newer(error, collection)]
    if not is_rejection(exc):
        raise exc
    return [Rejected(collection, documents[error["index"]], str(error.get("errmsg"))[:300]) for error in failed]


def _is_newer(error: Document, collection: str) -> bool:
    """Whether an error is about a document of the same place, and not about a unique index of another program."""
    message = str(error.get("errmsg"))
    is_of_others = collection in MARKS and "index: " in message and "index: _id_" not in message
    return error.get("code") == DUPLICATE and not is_of_others


async def _forget_lines(server: Server, batch: WriteBatch) -> None:
    requests = [
        DeleteMany({"execution_id": execution_id, "number": {"$lt": oldest}})
        for execution_id, oldest in batch.oldest_lines.items()
    ]
    if requests:
        async with server.writing():
            await server[schema.LINES].bulk_write(requests, ordered=False)


def _portions(documents: Sequence[Document], most: int = CALL_DOCUMENTS) -> Iterator[list[Document]]:
    """Split documents into the portions of one call."""
    portion: list[Document] = []
    size = 0
    for document in documents:
        weight = _weight(document)
        if portion and (len(portion) >= most or size + weight > CALL_BYTES):
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


class StoredEnd(NamedTuple):
    """The newest event of a log, and the document `log`: where the log ends, and the state of its views."""

    newest: Document | None
    log: Document

    @property
    def head(self) -> int:
        """The highest position ever assigned."""
        return max(int(self.newest["_id"]) if self.newest is not None else 0, int(self.log.get("head", 0)))

    def identified(self) -> LogEnd:
        """Return it in the words of the shared writer, with the event at the head, unless that was pruned."""
        if self.newest is None or self.newest["_id"] != self.head:
            return LogEnd(self.head, None)
        return LogEnd(self.head, encode_identity(self.newest))


async def read_end(server: Server) -> StoredEnd:
    """Read the end of the log."""
    newest = await newest_event(server)  # first, as in read_head
    async with server.reading():
        return StoredEnd(newest, await server[schema.KERNEL].find_one({"_id": schema.LOG}) or {})


async def keep_head(server: Server, head: int) -> None:
    """Record that the log has reached a position, where it may have no event: it must never be assigned again."""
    async with server.writing():
        await server[schema.KERNEL].update_one({"_id": schema.LOG}, {"$max": {"head": head}})


async def read_head(server: Server, watch: LeaseWatch | None = None) -> int:
    """Return the highest position ever assigned; note the row of the leader, which the same round trip returns."""
    newest = await newest_position(server)  # first: a prune records the head before it deletes the newest event
    async with server.reading():
        found = await server[schema.KERNEL].find({"_id": {"$in": [schema.LOG, schema.WRITER]}}).to_list(None)
    documents = {document["_id"]: document for document in found}
    if watch is not None:
        watch.note(lease_row_of(documents.get(schema.WRITER)))
    return max(newest, int(documents.get(schema.LOG, {}).get("head", 0)))
