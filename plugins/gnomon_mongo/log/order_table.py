"""The documents of `scheduler_orders`: orders and their answers, and the processes that follow.

The index on `kept` deletes what is left of both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta

import msgspec
from bson import Binary
from pymongo import UpdateOne
from pymongo.errors import ServerSelectionTimeoutError

from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.orders import Order
from gnomon.errors import StoreError
from gnomon_mongo import schema
from gnomon_mongo.drivers import Document
from gnomon_mongo.server import Server
from gnomon_shared_log.ports.order_table import ClaimedOrder, OrderState, OrderTable

_OPEN = {name: {"$exists": False} for name in ("answer", "abandoned", "withdrawn", "expired")}
_STATE = {"arguments": 0, "call": 0}
_members = msgspec.json.Decoder(KernelMember)


class MongoOrderTable(OrderTable):
    """The orders of one log. Each step is one update of one document."""

    most_bytes = 15 * 1024 * 1024  # the server accepts documents of 16 MiB

    def __init__(self, server: Server) -> None:
        self._server = server

    async def place(self, order: Order, limit_s: float) -> None:
        body = bytes(order.arguments)
        fields = {"call": order.call, "arguments": Binary(body), "waits": order.waits, "limit_s": limit_s}
        update = {"$setOnInsert": fields | {"waiting": True}, "$currentDate": {"sent": True, "kept": True}}
        async with self._server.writing() as server:
            await server[schema.ORDERS].update_one({"_id": order.id}, update, upsert=True)

    def was_not_sent(self, exc: StoreError) -> bool:
        return isinstance(exc.__cause__, ServerSelectionTimeoutError)

    async def look(self, ids: Collection[str]) -> dict[str, OrderState]:
        async with self._server.reading() as server:
            found = await server[schema.ORDERS].find({"_id": {"$in": list(ids)}}, _STATE).to_list(None)
        return {document["_id"]: _state_of(document) for document in found}

    async def withdraw(self, order_id: str, *, only_waiting: bool) -> bool:
        where = {"_id": order_id, **({"waiting": True} if only_waiting else _OPEN)}
        update = {"$unset": {"waiting": ""}, "$set": {"withdrawn": True}}
        async with self._server.writing() as server:
            return await server[schema.ORDERS].find_one_and_update(where, update) is not None

    async def keep(self, order_id: str) -> None:
        async with self._server.writing() as server:
            await server[schema.ORDERS].update_one({"_id": order_id}, {"$currentDate": {"kept": True}})

    async def waiting(self, most: int) -> list[str]:
        async with self._server.reading() as server:
            cursor = server[schema.ORDERS].find({"waiting": True}, {"sent": 1}).sort("sent", 1).limit(most)
            return [str(document["_id"]) for document in await cursor.to_list(None)]

    async def claim(self, ids: Collection[str], owner: str, mark: str) -> list[ClaimedOrder]:
        update = {
            "$unset": {"waiting": ""},
            "$set": {"claimed": {"owner": owner, "mark": mark}},
            "$currentDate": {"claimed_at": True},
        }
        async with self._server.writing() as server:
            await server[schema.ORDERS].update_many({"waiting": True, "_id": {"$in": list(ids)}}, update)
            cursor = server[schema.ORDERS].find({"_id": {"$in": list(ids)}, "claimed.mark": mark})
            found = await cursor.sort("sent", 1).to_list(None)
        return [ClaimedOrder(_order_of(document), _is_late(document)) for document in found]

    async def write_answers(self, answers: Mapping[str, bytes], owner: str) -> None:
        requests = [
            UpdateOne(
                {"_id": order_id, "claimed.owner": owner},
                {"$set": {"answer": Binary(answer)}, "$currentDate": {"kept": True}},
            )
            for order_id, answer in answers.items()
        ]
        async with self._server.writing() as server:
            await server[schema.ORDERS].bulk_write(requests, ordered=False)

    async def expire(self, ids: Collection[str]) -> None:
        async with self._server.writing() as server:
            await server[schema.ORDERS].update_many({"_id": {"$in": list(ids)}}, {"$set": {"expired": True}})

    async def abandon(self, owner: str, *, of_others: bool) -> None:
        claimed = {"claimed": {"$exists": True}, "claimed.owner": {"$ne": owner} if of_others else owner}
        async with self._server.writing() as server:
            await server[schema.ORDERS].update_many({**claimed, **_OPEN}, {"$set": {"abandoned": True}})

    async def announce(self, member: KernelMember) -> None:
        update = {"$set": {"follower": Binary(msgspec.json.encode(member))}, "$currentDate": {"kept": True}}
        async with self._server.writing() as server:
            await server[schema.ORDERS].update_one({"_id": f"follower:{member.id}"}, update, upsert=True)

    async def retract(self, member_id: str) -> None:
        async with self._server.writing() as server:
            await server[schema.ORDERS].delete_one({"_id": f"follower:{member_id}"})

    async def announced(self, since_s: float) -> list[KernelMember]:
        newer = {"$gt": await self._server.now() - timedelta(seconds=since_s)}
        async with self._server.reading() as server:
            cursor = server[schema.ORDERS].find({"follower": {"$exists": True}, "kept": newer}, {"follower": 1})
            found = await cursor.to_list(None)
        return [_members.decode(bytes(document["follower"])) for document in found]


def _state_of(document: Document) -> OrderState:
    answer = document.get("answer")
    return OrderState(
        document["_id"],
        owner=document["claimed"]["owner"] if "claimed" in document else None,
        answer=bytes(answer) if answer is not None else None,
        is_abandoned=document.get("abandoned", False),
        is_withdrawn=document.get("withdrawn", False),
        is_expired=document.get("expired", False),
        waits=document["waits"],
        kept=document["kept"],
    )


def _order_of(document: Document) -> Order:
    return Order(
        document["call"], msgspec.Raw(bytes(document["arguments"])), id=document["_id"], waits=document["waits"]
    )


def _is_late(document: Document) -> bool:
    """Return whether an order was claimed after its limit. The server's clock has set both times."""
    waited_s: float = (document["claimed_at"] - document["sent"]).total_seconds()
    return waited_s > float(document["limit_s"])
