"""The document `log`: which log this is, and in which layout its documents are."""

from __future__ import annotations

import secrets
from contextlib import suppress
from datetime import UTC, datetime

from pymongo.errors import DuplicateKeyError

from gnomon.errors import NoLogError, StoreError
from gnomon.logs import get_logger
from gnomon_mongo import schema
from gnomon_mongo.documents import list_fields
from gnomon_mongo.drivers import Document
from gnomon_mongo.server import Server
from gnomon_mongo.views import projection

log = get_logger("gnomon.mongo")

LAYOUT = 3
"""Version of the collections and their documents; 1 called the reason of a pause `paused_why`, 2 had no lateness."""


async def identify(server: Server, *, read_only: bool) -> str:
    """Return the unique id of this log; a new log gets one."""
    async with server.reading():
        found = await server[schema.KERNEL].find_one({"_id": "log"})
    if found is None and read_only:
        raise NoLogError(f"MongoDB at {server.address} contains no log: start a kernel with it first")
    if found is None:
        found = await _begin_log(server)
    if found["layout"] > LAYOUT:
        raise StoreError(
            f"MongoDB log {server.address} was written by a newer Gnomon: its layout is {found['layout']}, "
            f"this one knows {LAYOUT}; upgrade Gnomon, or use another database"
        )
    return str(found["id"])


async def find_id(server: Server) -> str | None:
    """Return the unique id of this log; None where there is none."""
    async with server.reading():
        found = await server[schema.KERNEL].find_one({"_id": "log"})
    return str(found["id"]) if found is not None else None


async def migrate(server: Server, layout: int) -> None:
    """Bring documents of an older layout to the current one. If it is interrupted, the next start repeats it."""
    if layout == LAYOUT:
        return
    renamed = await projection.rename_pause_reasons(server)
    completed = await list_fields.add_missing(server)
    async with server.writing():
        await server[schema.KERNEL].update_one({"_id": "log"}, {"$set": {"layout": LAYOUT}})
    log.info("the log is migrated to a newer layout", log=server.address, layout=LAYOUT, jobs=renamed, runs=completed)


async def _begin_log(server: Server) -> Document:
    new = {"id": secrets.token_hex(12), "layout": LAYOUT, "made": datetime.now(UTC)}
    async with server.writing():
        with suppress(DuplicateKeyError):  # two kernels that start at once agree on one id
            await server[schema.KERNEL].insert_one({"_id": "log", **new})
        return await server[schema.KERNEL].find_one({"_id": "log"}) or new
