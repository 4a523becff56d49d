"""The check of `gnomon check --connect`: whether a start would find everything it needs. Changes nothing."""

from __future__ import annotations

from gnomon.domain.kernel_health import Role
from gnomon.errors import NoLogError
from gnomon_mongo import schema
from gnomon_mongo.documents.foreign_documents import count_foreign, describe
from gnomon_mongo.drivers import Document
from gnomon_mongo.log import operations
from gnomon_mongo.server import Server


async def check_connection(server: Server, role: Role) -> str:
    """Return a description of the server and its log; raise StoreError for whatever would make a start fail."""
    version = await server.version()
    await _check_permission(server, role)
    await server.missing_indexes()
    found = f"MongoDB {version} at {server.address}: {await _found(server, role)}"
    counts = await count_foreign(server)
    return f"{found}; {describe(counts)}" if counts else found


async def _check_permission(server: Server, role: Role) -> None:
    written = schema.ORDERS if role == "follower" else schema.KERNEL
    async with server.writing():  # matches nothing, but needs the permission to write
        await server[written].delete_one({"_id": "nobody"})


async def _found(server: Server, role: Role) -> str:
    async with server.reading():
        known = await server[schema.KERNEL].find({}).to_list(None)
    documents: dict[str, Document] = {document["_id"]: document for document in known}
    if "log" not in documents:
        if role == "follower":
            raise NoLogError(f"{server.log_name} does not exist: start the kernel that leads first")
        return "no log yet; the first start creates it"
    log = f"a log at event {await operations.read_head(server):,}"
    writer = documents.get("writer")
    return f"{log}, in use by process {writer['pid']} on {writer['node']}" if writer else log
