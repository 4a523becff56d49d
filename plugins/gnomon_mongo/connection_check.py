"""Look whether a start would find what it needs: for `gnomon check --connect`. Nothing is changed."""

from __future__ import annotations

from gnomon_mongo import operations, schema
from gnomon_mongo.drivers import Document
from gnomon_mongo.server import Server


async def check_connection(server: Server) -> str:
    """Tell what is there; StoreError for a password, a permission or an index that a start could not use."""
    version = await server.version()
    await _check_permission(server)
    await server.missing_indexes()
    return f"MongoDB {version} at {server.address}: {await _found(server)}"


async def _check_permission(server: Server) -> None:
    async with server.writing():  # matches nothing, and is refused all the same where writing is not allowed
        await server[schema.KERNEL].delete_one({"_id": "nobody"})


async def _found(server: Server) -> str:
    async with server.reading():
        known = await server[schema.KERNEL].find({}).to_list(None)
    documents: dict[str, Document] = {document["_id"]: document for document in known}
    if "log" not in documents:
        return "no log yet, the first start makes it"
    log = f"a log that is at event {await operations.read_head(server):,}"
    writer = documents.get("writer")
    return f"{log}, written by process {writer['pid']} on {writer['node']}" if writer else log
