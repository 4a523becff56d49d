"""The fence: the document in the place before the first event, which says whose term it is.

Every append begins with a condition on it, so a kernel whose term is over appends nothing. It keeps the newest epoch
also while no kernel leads.
"""

from __future__ import annotations

from pymongo import ReturnDocument, UpdateOne

from gnomon.errors import DeposedError, StoreUnavailableError
from gnomon_mongo import schema
from gnomon_mongo.drivers import Document
from gnomon_mongo.server import Server
from gnomon_shared_log.ports.lease_row import Term

FENCE_POSITION = 0
FENCE_FIELDS: Document = {"stream": "", "version": 0, "type": "fence"}
"""A document in the place before the first event. No event can have its stream and version."""


async def set_fence(server: Server) -> None:
    """Insert the fence, unless it is there."""
    async with server.writing():
        await server[schema.EVENTS].update_one({"_id": FENCE_POSITION}, {"$setOnInsert": FENCE_FIELDS}, upsert=True)


async def read_epoch(server: Server) -> int:
    """Return the newest epoch, 0 in a new log."""
    return int((await _read(server)).get("epoch", 0))


async def set_term(server: Server, term: Term) -> None:
    """Open the log to this term and close it to earlier ones; DeposedError if it is open to a later one."""
    if await _has_opened(server, term):
        return
    await set_fence(server)  # a new log has none
    if not await _has_opened(server, term):
        await check_term(server, term)  # an earlier attempt may have done it


async def check_term(server: Server, term: Term) -> None:
    """Raise DeposedError if the log is open to another term.

    StoreUnavailableError if it is a later term of the same owner, which has won again since its append began.
    """
    found = await _read(server)
    if found.get("owner") == term.owner and found.get("epoch", 0) > term.epoch:
        raise StoreUnavailableError(
            f"this kernel has won the lease of MongoDB log {server.address} again, in epoch {found['epoch']}, since it "
            f"began to append in epoch {term.epoch}: the append is repeated"
        )
    if (found.get("owner"), found.get("epoch")) != (term.owner, term.epoch):
        raise DeposedError(
            f"another kernel took the lease of MongoDB log {server.address}, and leads in epoch {found.get('epoch')}; "
            f"this one led in epoch {term.epoch}"
        )


def require_term(term: Term) -> UpdateOne:
    """Match the fence of this term, or fail on its unique position: an upsert inserts only equalities."""
    where: Document = {"_id": FENCE_POSITION}
    where |= {name: {"$gte": value, "$lte": value} for name, value in (("owner", term.owner), ("epoch", term.epoch))}
    return UpdateOne(where, {"$setOnInsert": FENCE_FIELDS}, upsert=True)


async def _has_opened(server: Server, term: Term) -> bool:
    """Replace an earlier term; return whether the fence has this one then, as the server returns it."""
    earlier = {"$or": [{"epoch": {"$exists": False}}, {"epoch": {"$lt": term.epoch}}]}
    fields = {"owner": term.owner, "epoch": term.epoch}
    async with server.writing():
        found: Document | None = await server[schema.EVENTS].find_one_and_update(
            {"_id": FENCE_POSITION, **earlier}, {"$set": fields}, return_document=ReturnDocument.AFTER
        )
    return found is not None and (found.get("owner"), found.get("epoch")) == (term.owner, term.epoch)


async def _read(server: Server) -> Document:
    async with server.reading():
        return await server[schema.EVENTS].find_one({"_id": FENCE_POSITION}) or {}
