"""The row of the leader: the document `writer` of `scheduler_kernel`. The fence is beside the events (fence.py)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from gnomon_mongo import schema
from gnomon_mongo.drivers import Document
from gnomon_mongo.log import fence
from gnomon_mongo.server import Server
from gnomon_shared_log.ports.lease_row import LeaseRow, LeaseTable, Term

OPERATOR = "operator"
"""The owner of the epoch in which nobody leads."""
_RENEWED = ("epoch", "renewals", "seconds", "cut_off", "renewed", "expires", "renewed_here")
"""The fields that a renewal changes."""
_NAMES = {"owner": "token"}
_FIELDS = {_NAMES.get(name, name): name for name in LeaseRow.__struct_fields__}


class MongoLeaseTable(LeaseTable):
    """The row and the fence in one database."""

    where = schema.KERNEL

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def log_name(self) -> str:
        return self._server.log_name

    async def read(self) -> LeaseRow | None:
        async with self._server.reading() as server:
            return lease_row_of(await server[schema.KERNEL].find_one({"_id": schema.WRITER}))

    async def newest_epoch(self) -> int:
        return await fence.read_epoch(self._server)

    async def put(self, row: LeaseRow, seen: LeaseRow | None) -> LeaseRow | None:
        document = _document(msgspec.structs.asdict(row))
        async with self._server.writing() as server:
            kernel = server[schema.KERNEL]
            if seen is None:
                with suppress(DuplicateKeyError):
                    await kernel.insert_one({"_id": schema.WRITER, **document})
                return None
            # A field that a row of an earlier version lacks matches None.
            same = {"token": seen.owner or None, "epoch": seen.epoch or None, "renewals": seen.renewals or None}
            found: Document | None = await kernel.find_one_and_replace(
                {"_id": schema.WRITER, **same}, document, return_document=ReturnDocument.AFTER
            )
            return lease_row_of(found)

    async def open_to(self, term: Term) -> None:
        await fence.set_term(self._server, term)

    async def change(self, term: Term, row: LeaseRow) -> bool:
        where = {**_row_of(term), "renewals": {"$lte": row.renewals}}
        fields = _document({name: getattr(row, name) for name in _RENEWED})
        async with self._server.writing() as server:
            found = await server[schema.KERNEL].find_one_and_update(
                where, {"$set": fields}, return_document=ReturnDocument.AFTER
            )
            return found is not None

    async def delete(self, term: Term) -> None:
        async with self._server.writing() as server:
            await server[schema.KERNEL].delete_one(_row_of(term))

    async def end(self, seen: LeaseRow) -> None:
        epoch = max(seen.epoch, await fence.read_epoch(self._server)) + 1
        await fence.set_term(self._server, Term(OPERATOR, epoch))
        await self.delete(seen.term)


def lease_row_of(document: Document | None) -> LeaseRow | None:
    """Return the row in a document, which may be of an earlier version."""
    return LeaseRow(**lease_fields(document)) if document is not None else None


def lease_fields(document: Document) -> dict[str, Any]:
    """Return those fields of the row that a document has, or a part of it."""
    return {name: document[field] for field, name in _FIELDS.items() if field in document}


def _document(fields: Document) -> Document:
    return {_NAMES.get(name, name): value for name, value in fields.items()}


def _row_of(term: Term) -> Document:
    return {"_id": schema.WRITER, "token": term.owner or None, "epoch": term.epoch or None}
