"""The documents of `scheduler_orders`, and what senders and the leader do to them; each step is one update of one.

    waiting ──► claimed ──► answered
       │           ├──────► abandoned    its leader ended: it may have been carried out, and is never carried out again
       │           └──────► withdrawn    its sender went away
       ├──────► withdrawn                its sender went away, or its limit was over: nothing was done
       └──────► expired                  a leader found it after its limit, counted on the server's clock

An order is claimed once. The id of the order is the key, so one that is sent again has one document and one answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec
from bson import Binary
from pymongo import UpdateOne

from gnomon.domain.orders import Answer, Order
from gnomon.errors import GnomonError
from gnomon_mongo import schema
from gnomon_mongo.drivers import Document
from gnomon_mongo.server import Server

MOST_BYTES = 15 * 1024 * 1024
"""Of an order or an answer: the server accepts documents of 16 MiB."""
_OPEN = {name: {"$exists": False} for name in ("answer", "abandoned", "withdrawn", "expired")}
_STATE = {"arguments": 0, "call": 0}


async def place(server: Server, order: Order, limit_s: float) -> None:
    """Insert an order that waits, unless it is there."""
    body = bytes(order.arguments)
    if len(body) > MOST_BYTES:
        raise GnomonError(
            f"the order {order.call!r} has {len(body):,} bytes of arguments, more than the {MOST_BYTES:,} that pass "
            "through MongoDB: split it"
        )
    fields = {"call": order.call, "arguments": Binary(body), "waits": order.waits, "limit_s": limit_s, "waiting": True}
    update = {"$setOnInsert": fields, "$currentDate": {"sent": True, "kept": True}}
    async with server.writing():
        await server[schema.ORDERS].update_one({"_id": order.id}, update, upsert=True)


async def look(server: Server, ids: Collection[str]) -> dict[str, Document]:
    """Return the documents of these orders without what was ordered."""
    async with server.reading():
        found = await server[schema.ORDERS].find({"_id": {"$in": list(ids)}}, _STATE).to_list(None)
    return {document["_id"]: document for document in found}


async def withdraw(server: Server, order_id: str, *, only_waiting: bool) -> bool:
    """Withdraw an order; return whether it was still there to be withdrawn."""
    where = {"_id": order_id, **({"waiting": True} if only_waiting else _OPEN)}
    update = {"$unset": {"waiting": ""}, "$set": {"withdrawn": True}}
    async with server.writing():
        return await server[schema.ORDERS].find_one_and_update(where, update) is not None


async def keep(server: Server, order_id: str) -> None:
    """Show that the sender of an order is still there, and do not let its document expire."""
    async with server.writing():
        await server[schema.ORDERS].update_one({"_id": order_id}, {"$currentDate": {"kept": True}})


async def waiting(server: Server, most: int) -> list[str]:
    """Return the ids of orders that wait, the first ones first."""
    async with server.reading():
        cursor = server[schema.ORDERS].find({"waiting": True}, {"sent": 1}).sort("sent", 1).limit(most)
        return [str(document["_id"]) for document in await cursor.to_list(None)]


async def claim(server: Server, ids: list[str], owner: str, mark: str) -> list[Document]:
    """Claim those of these orders that still wait; return all that have this mark.

    Repeatable with the same mark, where the reply to an earlier attempt was lost.
    """
    update = {
        "$unset": {"waiting": ""},
        "$set": {"claimed": {"owner": owner, "mark": mark}},
        "$currentDate": {"claimed_at": True},
    }
    async with server.writing():
        await server[schema.ORDERS].update_many({"waiting": True, "_id": {"$in": ids}}, update)
        cursor = server[schema.ORDERS].find({"_id": {"$in": ids}, "claimed.mark": mark})
        return await cursor.sort("sent", 1).to_list(None)


def is_expired(claimed: Document) -> bool:
    """Return whether an order was claimed after its limit. The server's clock has set both times."""
    waited_s: float = (claimed["claimed_at"] - claimed["sent"]).total_seconds()
    return waited_s > float(claimed["limit_s"])


async def write_answers(server: Server, answers: Mapping[str, bytes], owner: str) -> None:
    """Answer orders, also those that count as abandoned by now: then their answers are known after all."""
    requests = [
        UpdateOne(
            {"_id": order_id, "claimed.owner": owner},
            {"$set": {"answer": Binary(answer)}, "$currentDate": {"kept": True}},
        )
        for order_id, answer in answers.items()
    ]
    async with server.writing():
        await server[schema.ORDERS].bulk_write(requests, ordered=False)


async def expire(server: Server, ids: Collection[str]) -> None:
    """Record that orders were not carried out because their limits were over."""
    async with server.writing():
        await server[schema.ORDERS].update_many({"_id": {"$in": list(ids)}}, {"$set": {"expired": True}})


async def abandon(server: Server, where: Document) -> None:
    """Record of claimed orders that have no answer that they get none."""
    async with server.writing():
        await server[schema.ORDERS].update_many(
            {"claimed": {"$exists": True}, **where, **_OPEN}, {"$set": {"abandoned": True}}
        )


def order_of(document: Document) -> Order:
    """Return the order in a document."""
    return Order(
        document["call"], msgspec.Raw(bytes(document["arguments"])), id=document["_id"], waits=document["waits"]
    )


def answer_of(document: Document) -> Answer:
    """Return the answer in a document."""
    return msgspec.json.decode(bytes(document["answer"]), type=Answer)


def withdrawn(documents: Iterable[Document]) -> list[str]:
    """Return the ids of those that were withdrawn."""
    return [document["_id"] for document in documents if document.get("withdrawn")]
