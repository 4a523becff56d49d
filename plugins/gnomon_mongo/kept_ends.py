"""Ends of runs that this kernel could not append: kept in its spool, then handed to the kernel that leads.

A kernel that is cut off from the server still has bodies that end. Their ends are kept durably, but are not part of the
log yet. If the kernel reaches the server again and still leads, it appends them as usual. Otherwise they go to the
collection `scheduler_late_ends`, from where the leader records them: as the end of a run that has none, else as a
`late_result` (engine/late_ends.py of the kernel).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pymongo import DeleteOne, ReplaceOne

from gnomon.domain import codec
from gnomon.domain.events import Cancelled, Event, Failed, LateResult, Succeeded
from gnomon.errors import StoreError
from gnomon.logs import get_logger
from gnomon_mongo import schema
from gnomon_mongo.drivers import Document
from gnomon_mongo.server import Server
from gnomon_mongo.spool import Spool
from gnomon_mongo.spool_choice import existing_spools

log = get_logger("gnomon.mongo")

MOST_AT_ONCE = 200
ENDS = Succeeded | Failed | Cancelled | LateResult


class KeptEnds:
    """The ends in the spool of this kernel."""

    def __init__(self, server: Server, spool: Spool) -> None:
        self._server = server
        self._spool = spool
        self._kept: set[tuple[str, int]] = set()

    async def keep(self, found: Iterable[Event]) -> None:
        """Keep the ends among these events; durable when it returns."""
        new = [event for event in found if _is_end(event) and (event.stream, event.version) not in self._kept]
        if new:
            await self._spool.put_ends([(event.stream, event.version, codec.encode(event)) for event in new])
            self._kept |= {(event.stream, event.version) for event in new}

    async def clear(self) -> None:
        """Forget the ends, which have been appended."""
        if self._kept:
            await self._spool.drop_ends()
            self._kept.clear()

    async def hand_over(self) -> None:
        """Move the ends from the spool to the server, for the kernel that leads."""
        if ends := await self._spool.ends():
            await self.send([codec.decode(body) for _, _, body in ends])
            await self._spool.drop_ends()
            self._kept.clear()

    async def send(self, found: Sequence[Event]) -> None:
        """Send the ends among these events to the server."""
        requests = [_request(event) for event in found if _is_end(event)]
        for start in range(0, len(requests), MOST_AT_ONCE):
            async with self._server.writing():
                await self._server[schema.LATE_ENDS].bulk_write(requests[start : start + MOST_AT_ONCE], ordered=False)
        if requests:
            log.warning("ends of runs that could not be appended are handed to the leader", ends=len(requests))


async def hand_over_left(server: Server, path: Path) -> None:
    """Move what earlier kernels with this spool could not append to the server, as far as that is possible now."""
    for spool in map(Spool, existing_spools(path)):
        with suppress(StoreError):  # another kernel uses the spool, or the server is down: the next start tries again
            try:
                await spool.open()
                await KeptEnds(server, spool).hand_over()
            finally:
                await spool.close()


async def read(server: Server) -> list[Event]:
    """Return ends that kernels have handed over, the oldest first."""
    async with server.reading():
        found = await server[schema.LATE_ENDS].find({}).sort("kept", 1).limit(MOST_AT_ONCE).to_list(None)
    return [codec.decode(document["body"]) for document in found]


async def forget(server: Server, done: Sequence[Event]) -> None:
    """Delete ends that have been recorded."""
    if done:
        async with server.writing():
            await server[schema.LATE_ENDS].bulk_write([DeleteOne({"_id": _key(event)}) for event in done])


def _is_end(event: Event) -> bool:
    """Whether the event is the end of a run whose body has begun."""
    return isinstance(event, ENDS) and event.execution_time is not None


def _request(event: Event) -> ReplaceOne[Document]:
    document = {"_id": _key(event), "kept": datetime.now(UTC), "body": codec.encode(event)}
    return ReplaceOne({"_id": document["_id"]}, document, upsert=True)


def _key(event: Event) -> str:
    return f"{event.stream}:{event.version}"
