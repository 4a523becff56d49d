"""`/ws/events`: the whole log as it grows, without a gap, at the pace of who reads it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from aiohttp import web

from gnomon import Event
from gnomon.domain.events import EVENT_TYPES
from gnomon_web.live.connection import Connection, ignore, text_frame
from gnomon_web.live.hub import HUB, Hub
from gnomon_web.live.tail import Position, Slice
from gnomon_web.problems import ApiError, culprit


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """From where, and which events: of one job, of some types.

    Without `after` it begins with the next event; `log` is the identity of the log that `after` was a position of.
    """

    after: Position | None = None
    log: str | None = None
    job_id: str | None = None
    types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a type that there is not: it would be waited for for ever."""
        for word in self.types:
            if word not in EVENT_TYPES:
                raise ApiError(
                    400,
                    f"there is no event type {word!r}",
                    errors=[culprit("query", "types", f"expected some of {', '.join(EVENT_TYPES)}; got {word!r}")],
                )

    def wants(self, event: Event) -> bool:
        """Whether an event passes."""
        return self.job_id in {None, event.job_id} and (not self.types or event.type in self.types)

    @property
    def wants_all(self) -> bool:
        """Whether every event passes."""
        return self.job_id is None and not self.types


class Notice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is sent besides events; `seq` is the position up to which everything has been sent."""

    type: Literal["ready", "reset", "heartbeat"]
    seq: int
    log: str | None = None
    reason: Literal["other-log", "pruned"] | None = None


class EventFeed:
    """One reader of the log. Whoever does not keep up reads from the store: nothing is left out, little is held."""

    def __init__(self, hub: Hub, query: EventsQuery) -> None:
        self._hub = hub
        self._tail = hub.tail
        self._query = query
        self._cursor = self._tail.head if query.after is None else query.after
        self._gaps_end = 0

    async def talk(self, connection: Connection) -> None:
        """Send what follows, for as long as somebody listens."""
        if self._query.after is not None and self._hub.why_not(self._query.log, self._cursor):
            await self._begin_again(connection, "other-log")
        else:
            self._gaps_end = self._tail.head if self._cursor == 0 else 0
            await connection.send(self._notice("ready"))
        while True:
            await self._tail.reach(self._cursor + 1)
            part = await self._tail.read(self._cursor)
            if part.lacks(beyond=self._gaps_end):
                await self._begin_again(connection, "pruned")
                continue
            self._cursor = part.upto
            if frame := part.frame((self._query.job_id, self._query.types), self._write):
                await connection.pass_on(frame)

    def heartbeat(self) -> bytes:
        """Say how far it has come."""
        return self._notice("heartbeat")

    async def _begin_again(self, connection: Connection, reason: Literal["other-log", "pruned"]) -> None:
        """Let the reader forget all, and send all that there is: what it has folded can be made right in no other way.

        What has been pruned up to now is missing there, as everybody knows; what is pruned later is not.
        """
        self._cursor, self._gaps_end = 0, self._tail.head
        await connection.send(self._notice("reset", reason))

    def _notice(
        self, kind: Literal["ready", "reset", "heartbeat"], reason: Literal["other-log", "pruned"] | None = None
    ) -> bytes:
        log = self._hub.kernel.log_id if kind != "heartbeat" else None
        return msgspec.json.encode(Notice(type=kind, seq=self._cursor, log=log, reason=reason))

    def _write(self, part: Slice) -> bytes:
        """Write the frame of a slice; nothing where no event of it is wanted."""
        bodies: Iterable[bytes] = (
            entry.body for entry in part.entries if self._query.wants_all or self._query.wants(entry.event)
        )
        if not (joined := b",".join(bodies)):
            return b""
        return text_frame(b'{"type":"events","seq":%d,"events":[%b]}' % (part.upto, joined))


async def serve_events(request: web.Request, query: EventsQuery) -> web.StreamResponse:
    """Follow the whole log, or the events of one job or of some types, from a position on."""
    hub = request.app[HUB]
    feed = EventFeed(hub, query)
    return await hub.hold(request, feed.talk, hear=ignore, heartbeat=feed.heartbeat)
