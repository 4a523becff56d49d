"""`/ws/live`: a snapshot of everything that a dashboard shows, then batches of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.metadata import version

import msgspec
from aiohttp import web

from gnomon import JobRemoved, KernelEvent, Progress
from gnomon.domain.events import JobEvent
from gnomon_web.app_keys import AUTHENTICATOR, IDENTITY, kernel_of
from gnomon_web.http.responses import encode_json
from gnomon_web.live.ack_window import AckWindow
from gnomon_web.live.coalescing import coalesce_progress
from gnomon_web.live.connections import LIVE_CONNECTIONS, LiveConnections
from gnomon_web.live.eta_feed import EtaFeed
from gnomon_web.live.health_feed import HealthFeed
from gnomon_web.live.log_feed import LogFeed
from gnomon_web.live.messages import (
    PROTOCOL,
    Ack,
    Delta,
    Heartbeat,
    Hello,
    JobTotals,
    NewTopics,
    Ping,
    Pong,
    Reason,
    Snapshot,
    read_message,
)
from gnomon_web.live.tail import KEPT_EVENTS, MAX_RESUME, Slice
from gnomon_web.live.visible_events import VisibleEvents
from gnomon_web.live.websocket import HangUp, WebSocket, text_frame

HELLO_LIMIT_S = 10.0
"""Seconds in which a client must send its hello."""
TICK_S = 0.1
"""Seconds between two deltas: nobody reads faster, and a page can draw them all."""
MAX_QUEUE = 2_000
"""Events, without superseded progress, that may wait for a slow client; beyond that it gets a snapshot."""
MAX_DELTA_BYTES = 512 * 1024
"""Bytes of the events in one delta, superseded progress included: about 2,000 events."""
VERSION = version("gnomon")


class DashboardFeed:
    """One dashboard."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._live: LiveConnections = request.app[LIVE_CONNECTIONS]
        self._kernel = kernel_of(request)
        self._visible = VisibleEvents(self._kernel)
        self._tail = self._live.tail
        self._identity = request[IDENTITY]
        self._hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self._window = AckWindow()
        self._logs = LogFeed(self._kernel)
        self._health = HealthFeed(request, self._live.health)
        self._etas = EtaFeed(request, self._live.etas)
        self._cursor = self._tail.head
        self._resuming_until: int | None = None
        self._sent_at = float("-inf")
        self._websocket: WebSocket

    async def receive(self, text: str) -> None:
        """Handle a message of the client."""
        try:
            message = read_message(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
            raise HangUp(4400, f"cannot read the message: {exc}") from None
        if isinstance(message, Hello) is self._hello.done():
            raise HangUp(4400, "the first message must be a hello, and no other one may be")
        match message:
            case Hello():
                self._hello.set_result(message)
            case Ack():
                self._window.acknowledge(message.seq)
            case NewTopics():
                if not self._request.app[AUTHENTICATOR].is_valid(self._identity):
                    raise HangUp(4401, "the login has ended")
                self._follow(message.topics)
            case Ping():
                await self._websocket.send(encode_json(Pong(now=self._kernel.clock.now())))

    def heartbeat(self) -> bytes:
        """Return a heartbeat."""
        return encode_json(Heartbeat(seq=self._cursor, now=self._kernel.clock.now(), version=VERSION))

    async def send(self, websocket: WebSocket) -> None:
        """Send a snapshot or the missed events, then deltas, until the connection ends."""
        self._websocket = websocket
        if websocket.protocol != PROTOCOL:
            raise HangUp(4400, f"expected the subprotocol {PROTOCOL}")
        try:
            async with asyncio.timeout(HELLO_LIMIT_S):
                hello = await self._hello
        except TimeoutError:
            raise HangUp(4400, f"expected a hello within {HELLO_LIMIT_S:g} s") from None
        self._follow(hello.topics)
        websocket.tasks.create_task(self._logs.send(websocket))
        await self._begin(hello)
        websocket.tasks.create_task(self._health.send(websocket))
        websocket.tasks.create_task(self._etas.send(websocket))
        while True:
            await self._tail.reach(self._cursor + 1)
            await self._window.room()
            await self._next_tick()
            await self._send_next()

    def _follow(self, topics: Sequence[str]) -> None:
        """Follow the logs of runs; a wall shows none."""
        if not self._identity.is_link:
            self._logs.follow(topics)

    async def _begin(self, hello: Hello) -> None:
        if hello.after is None or hello.log is None:
            await self._send_snapshot("first")
        elif await self._live.is_other_log(hello.log, hello.after):
            await self._send_snapshot("other-log")
        elif self._tail.head - hello.after > MAX_RESUME:
            await self._send_snapshot("gap")
        else:
            self._cursor, self._resuming_until = hello.after, self._tail.head
            await self._send_next()

    async def _next_tick(self) -> None:
        """Wait for the next tenth of a second, the same one for all clients, so that they share the same bytes."""
        now = asyncio.get_running_loop().time()
        if now - self._sent_at < TICK_S:
            # Nine tenths of a tick: a client that woke a little late still sends at the next tick.
            earliest = self._sent_at + 0.9 * TICK_S
            await asyncio.sleep((earliest // TICK_S + 1) * TICK_S - now)

    async def _send_next(self) -> None:
        part = await self._tail.read(self._cursor, KEPT_EVENTS, MAX_DELTA_BYTES)
        is_resuming = self._resuming_until is not None
        if part.has_gap():
            await self._send_snapshot("gap")
        elif not is_resuming and self._is_too_long(part):
            await self._send_snapshot("lag")
        else:
            part = await self._visible.of(part)
            if not part.entries and not is_resuming:  # there were only events that a limited token may not see
                self._cursor = part.upto
                return
            key = ("delta", is_resuming, self._websocket.deflates)
            frame = await part.awaited_frame(key, lambda part: self._write(part, is_resuming))
            self._cursor = part.upto
            if self._resuming_until is not None and self._cursor >= self._resuming_until:
                self._resuming_until = None
            await self._send(frame)

    def _is_too_long(self, part: Slice) -> bool:
        return self._tail.head - self._cursor > MAX_QUEUE and (
            part.upto < self._tail.head or len(coalesce_progress([entry.event for entry in part.entries])) > MAX_QUEUE
        )

    async def _write(self, part: Slice, is_resuming: bool) -> bytes:
        kept = {event.position for event in coalesce_progress([entry.event for entry in part.entries])}
        bodies = b",".join(entry.body for entry in part.entries if entry.position in kept)
        changed = {entry.event.job_id for entry in part.entries if not isinstance(entry.event, Progress | KernelEvent)}
        jobs = await self._live.snapshots.jobs(self._request, changed)
        delta = Delta(
            seq=part.upto,
            now=self._kernel.clock.now(),
            events=msgspec.Raw(b"[%b]" % bodies),
            jobs=list(jobs.values()),
            removed=sorted(_removed(part) - jobs.keys()),  # a job that was added again is not removed
            totals=await self._job_totals(part),
            resumed=is_resuming,
        )
        return text_frame(encode_json(delta), deflated=self._websocket.deflates)

    async def _job_totals(self, part: Slice) -> JobTotals | None:
        if not any(isinstance(entry.event, JobEvent) for entry in part.entries):
            return None
        views = await self._kernel.jobs()
        return JobTotals(jobs=len(views), paused=sum(view.state.paused for view in views))

    async def _send_snapshot(self, reason: Reason) -> None:
        shared = await self._live.snapshots.take(self._request, self._cursor)
        self._cursor, self._resuming_until = shared.seq, None
        snapshot = Snapshot(
            reason=reason,
            log=self._kernel.log_id,
            seq=shared.seq,
            now=self._kernel.clock.now(),
            version=VERSION,
            role=self._identity.role,
            actor=self._identity.name,
            contributed=shared.contributed,
            totals=shared.totals,
            jobs=shared.jobs,
            running=shared.running,
            recent=shared.recent,
            health=shared.health,
        )
        self._health.note(shared.health)
        await self._send(text_frame(encode_json(snapshot), deflated=self._websocket.deflates))

    async def _send(self, frame: bytes) -> None:
        self._window.sent(self._cursor)
        self._sent_at = asyncio.get_running_loop().time()
        await self._websocket.send_frame(frame)


def _removed(part: Slice) -> set[str]:
    return {entry.event.job_id for entry in part.entries if isinstance(entry.event, JobRemoved)}


async def serve_live(request: web.Request) -> web.StreamResponse:
    """Serve a dashboard: a snapshot, then changes at the pace of its acknowledgements (subprotocol gnomon.live.v1)."""
    feed = DashboardFeed(request)
    return await request.app[LIVE_CONNECTIONS].serve(
        request, feed.send, receive=feed.receive, heartbeat=feed.heartbeat, protocols=(PROTOCOL,), deflates=True
    )
