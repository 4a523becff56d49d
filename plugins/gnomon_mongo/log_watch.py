"""The watch of a follower over the log: events that were appended, and the row of the leader.

Where the server has change streams, it reports both: an idle follower sends about 20 requests a minute, most of which
answer a renewal of the lease. Elsewhere one request, 5 times a second, reads both.
"""

from __future__ import annotations

from gnomon.ticks import next_tick
from gnomon_mongo import schema
from gnomon_mongo.change_feed import ChangeFeed
from gnomon_mongo.drivers import Document, aggregate
from gnomon_mongo.lease_table import MongoLeaseTable, lease_fields, lease_row_of
from gnomon_mongo.server import Server
from gnomon_shared_log.errors import Refusal
from gnomon_shared_log.lease_watch import LOOK_S, LeaseWatch

_REPORTED: list[Document] = [
    {
        "$match": {
            "$or": [
                {"ns.coll": schema.EVENTS, "operationType": "insert"},
                {"ns.coll": schema.KERNEL, "documentKey._id": schema.WRITER},
            ]
        }
    },
    {"$project": {"operationType": 1, "ns.coll": 1, "documentKey": 1, "updateDescription.updatedFields": 1}},
]


class LogWatch:
    """Waits for events, and notes in `lease` what it sees of the row meanwhile."""

    def __init__(self, server: Server, lease: LeaseWatch) -> None:
        self.feed = ChangeFeed(server, _REPORTED, self._receive)
        self._server = server
        self._lease = lease
        self._newest = self._followed = 0
        self._joins = True

    async def wait(self, after: int) -> None:
        """Return when there may be events after this position."""
        with self.feed.used(), self._lease.fed():
            while not (stream := self.feed.stream):
                await next_tick(LOOK_S)
                if await self._has_events(after):
                    return
            if self._followed != stream:  # what came before it is not in it
                self._followed = stream
                if await self._has_events(after):
                    return
            while self._newest <= after and self.feed.stream == stream:
                await self.feed.turn(self.feed.turns)

    async def _has_events(self, after: int) -> bool:
        """Return whether there is an event after this position; note the row of the leader."""
        newer = {"_id": {"$gt": after}}
        if self._joins:
            try:
                return await self._join(newer)
            except Refusal:  # MongoDB before 4.4, or a database that only speaks its protocol
                self._joins = False
        await self._lease.look(MongoLeaseTable(self._server))
        async with self._server.reading() as server:
            return await server[schema.EVENTS].find_one(newer, {"_id": 1}) is not None

    async def _join(self, newer: Document) -> bool:
        """Read both in one request."""
        some = [{"$match": newer}, {"$limit": 1}, {"$project": {"_id": 1}}]
        pipeline: list[Document] = [
            {"$match": {"_id": schema.WRITER}},
            {"$unionWith": {"coll": schema.EVENTS, "pipeline": some}},
        ]
        async with self._server.reading() as server:
            found = await aggregate(server[schema.KERNEL], pipeline)
        rows = {row["_id"]: row for row in found}
        self._lease.note(lease_row_of(rows.pop(schema.WRITER, None)))
        return bool(rows)

    def _receive(self, change: Document) -> None:
        if change["ns"]["coll"] == schema.EVENTS:
            if isinstance(position := change["documentKey"]["_id"], int):  # that of another program has none
                self._newest = max(self._newest, position)
        elif change["operationType"] == "update":
            self._lease.note_renewal(lease_fields(change["updateDescription"]["updatedFields"]))
        else:
            self._lease.forget()
