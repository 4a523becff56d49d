"""The processes that follow a log while no kernel that leads answers them, as documents beside the orders.

A process writes its document again and again until a kernel answers; one that was killed counts for ANNOUNCED_S, on the
server's clock. The index on `kept` deletes what is left.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec
from bson import Binary

from gnomon.domain.kernel_member import KernelMember
from gnomon_mongo import schema
from gnomon_mongo.server import Server

ANNOUNCED_S = 15.0
"""Seconds for which a document counts: a process writes it at least every 6 s."""
_members = msgspec.json.Decoder(KernelMember)


async def announce(server: Server, member: KernelMember) -> None:
    """Write the document of a process."""
    update = {"$set": {"follower": Binary(msgspec.json.encode(member))}, "$currentDate": {"kept": True}}
    async with server.writing():
        await server[schema.ORDERS].update_one({"_id": f"follower:{member.id}"}, update, upsert=True)


async def retract(server: Server, member_id: str) -> None:
    """Delete the document of a process."""
    async with server.writing():
        await server[schema.ORDERS].delete_one({"_id": f"follower:{member_id}"})


async def announced(server: Server) -> list[KernelMember]:
    """Return the processes whose documents are new, by node and process."""
    where = {"follower": {"$exists": True}, "kept": {"$gt": await server.now() - timedelta(seconds=ANNOUNCED_S)}}
    async with server.reading():
        documents = await server[schema.ORDERS].find(where, {"follower": 1}).to_list(None)
    found = [_members.decode(bytes(document["follower"])) for document in documents]
    return sorted(found, key=lambda member: (member.node, member.pid, member.id))
