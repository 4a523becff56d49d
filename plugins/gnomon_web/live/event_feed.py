"""`/ws/events`: the log as it grows, without gaps, at the pace of the reader."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from aiohttp import web

from gnomon import Event
from gnomon.domain.events import EVENT_TYPES
from gnomon.wire.problems import INVALID_PARAMETER
from gnomon.wire.records import EventsFrame
from gnomon_web.app_keys import kernel_of
from gnomon_web.errors import ApiError, culprit
from gnomon_web.live.connections import LIVE_CONNECTIONS, LiveConnections
from gnomon_web.live.tail import Position, Slice
from gnomon_web.live.visible_events import VisibleEvents
from gnomon_web.live.websocket import WebSocket, ignore, text_frame


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The start and the filters.

    Without `after` it starts with the next event; `log` is the identity of the log that `after` is a position of.
    """

    after: Position | None = None
    log: str | None = None
    job_id: str | None = None
    types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an unknown event type, which would never come."""
        for word in self.types:
            if word not in EVENT_TYPES:
                detail = f"unknown event type {word!r}; expected some of {', '.join(EVENT_TYPES)}"
                raise ApiError(INVALID_PARAMETER, detail, errors=[culprit("query", "types", detail)])

    def wants(self, event: Event) -> bool:
        """Whether an event passes the filters."""
        return self.job_id in {None, event.job_id} and (not self.types or event.type in self.types)

    @property
    def wants_all(self) -> bool:
        """Whether there are no filters."""
        return self.job_id is None and not self.types


class EventFeed:
    """One reader of the log. A slow one reads from the store: nothing is left out, and little is buffered."""

    def __init__(self, live: LiveConnections, query: EventsQuery, visible: VisibleEvents) -> None:
        self._live = live
        self._visible = visible
        self._tail = live.tail
        self._query = query
        self._cursor = self._tail.head if query.after is None else query.after
        self._gaps_end = 0

    async def send(self, websocket: WebSocket) -> None:
        """Send events until the connection ends."""
        if self._query.after is not None and await self._live.is_other_log(self._query.log, self._cursor):
            await self._restart(websocket, "other-log")
        else:
            self._gaps_end = self._tail.head if self._cursor == 0 else 0
            await websocket.send(self._notice("ready"))
        while True:
            await self._tail.reach(self._cursor + 1)
            part = await self._tail.read(self._cursor)
            if part.has_gap(beyond=self._gaps_end):
                await self._restart(websocket, "pruned")
                continue
            self._cursor, part = part.upto, await self._visible.of(part)
            if frame := part.frame((self._query.job_id, self._query.types), self._write):
                await websocket.send_frame(frame)

    def heartbeat(self) -> bytes:
        """Return a heartbeat."""
        return self._notice("heartbeat")

    async def _restart(self, websocket: WebSocket, reason: Literal["other-log", "pruned"]) -> None:
        """Send a reset, after which the reader discards what it has, and start from the beginning of the log.

        Gaps up to the present head are expected then; a gap beyond it means another restart.
        """
        self._cursor, self._gaps_end = 0, self._tail.head
        await websocket.send(self._notice("reset", reason))

    def _notice(
        self, kind: Literal["ready", "reset", "heartbeat"], reason: Literal["other-log", "pruned"] | None = None
    ) -> bytes:
        log = self._live.kernel.log_id if kind != "heartbeat" else None
        return msgspec.json.encode(EventsFrame(type=kind, seq=self._cursor, log=log, reason=reason))

    def _write(self, part: Slice) -> bytes:
        """Return the frame of a slice; nothing where no event passes the filters."""
        bodies: Iterable[bytes] = (
            entry.body for entry in part.entries if self._query.wants_all or self._query.wants(entry.event)
        )
        if not (joined := b",".join(bodies)):
            return b""
        return text_frame(b'{"type":"events","seq":%d,"events":[%b]}' % (part.upto, joined))


async def serve_events(request: web.Request, query: EventsQuery) -> web.StreamResponse:
    """Follow the log, or the events of one job or of some types, from a position on."""
    live = request.app[LIVE_CONNECTIONS]
    feed = EventFeed(live, query, VisibleEvents(kernel_of(request)))
    return await live.serve(request, feed.send, receive=ignore, heartbeat=feed.heartbeat)
