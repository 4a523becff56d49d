"""`/ws/live`: what a dashboard shows, as of a position, and batches of what has happened since."""

from __future__ import annotations

import asyncio
from importlib.metadata import version

import msgspec
from aiohttp import web

from gnomon import JobRemoved, Progress
from gnomon_web.keys import AUTHENTICATOR, IDENTITY
from gnomon_web.live.conflation import conflate
from gnomon_web.live.connection import Connection, HangUp, text_frame
from gnomon_web.live.hub import HUB, Hub
from gnomon_web.live.log_feed import LogFeed
from gnomon_web.live.messages import (
    PROTOCOL,
    Ack,
    Delta,
    Heartbeat,
    Hello,
    NewTopics,
    Ping,
    Pong,
    Reason,
    Snapshot,
    read_message,
    write_message,
)
from gnomon_web.live.tail import FARTHEST_RESUME, KEPT_EVENTS, Slice
from gnomon_web.live.window import Window

HELLO_LIMIT = 10.0
"""Seconds in which a client has to say what it wants."""
TICK = 0.1
"""Seconds between two deltas: nobody reads faster, and a page can draw them all."""
LONGEST_QUEUE = 2_000
"""Events, less what progress covers, that a slow client may have waiting; beyond that it gets a snapshot."""
LARGEST_DELTA = 512 * 1024
"""Bytes of the events that one delta is made of, before progress is left out: some 2,000."""
VERSION = version("gnomon")


class DashboardFeed:
    """One dashboard."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._hub: Hub = request.app[HUB]
        self._kernel = self._hub.kernel
        self._tail = self._hub.tail
        self._identity = request[IDENTITY]
        self._hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self._window = Window()
        self._logs = LogFeed(self._kernel)
        self._cursor = self._tail.head
        self._resuming_until: int | None = None
        self._sent_at = float("-inf")
        self._connection: Connection

    async def hear(self, text: str) -> None:
        """Take a message of the client."""
        try:
            message = read_message(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
            raise HangUp(4400, f"cannot read a message: {exc}") from None
        if isinstance(message, Hello) is self._hello.done():
            raise HangUp(4400, "the first message, and no other one, is a hello")
        match message:
            case Hello():
                self._hello.set_result(message)
            case Ack():
                self._window.acknowledge(message.seq)
            case NewTopics():
                if not self._request.app[AUTHENTICATOR].is_valid(self._identity):
                    raise HangUp(4401, "the login has ended")
                self._logs.follow(message.topics)
            case Ping():
                await self._connection.send(write_message(Pong(now=self._kernel.clock.now())))

    def heartbeat(self) -> bytes:
        """Say that all is well."""
        return write_message(Heartbeat(seq=self._cursor, now=self._kernel.clock.now(), version=VERSION))

    async def talk(self, connection: Connection) -> None:
        """Send a picture or what was missed, then deltas, for as long as somebody looks."""
        self._connection = connection
        if connection.protocol != PROTOCOL:
            raise HangUp(4400, f"expected the subprotocol {PROTOCOL}")
        try:
            async with asyncio.timeout(HELLO_LIMIT):
                hello = await self._hello
        except TimeoutError:
            raise HangUp(4400, f"expected a hello within {HELLO_LIMIT:g} s") from None
        self._logs.follow(hello.topics)
        connection.tasks.create_task(self._logs.talk(connection))
        await self._begin(hello)
        while True:
            await self._tail.reach(self._cursor + 1)
            await self._window.room()
            await self._next_tick()
            await self._go_on()

    async def _begin(self, hello: Hello) -> None:
        if hello.after is None or hello.log is None:
            await self._show_all("first")
        elif reason := self._hub.why_not(hello.log, hello.after):
            await self._show_all(reason)
        elif self._tail.head - hello.after > FARTHEST_RESUME:
            await self._show_all("gap")
        else:
            self._cursor, self._resuming_until = hello.after, self._tail.head
            await self._go_on()

    async def _next_tick(self) -> None:
        """Wait for the next tenth of a second, the same one for all: so they send the same bytes."""
        now = asyncio.get_running_loop().time()
        if now - self._sent_at < TICK:
            # Nine tenths of a tick: whoever has woken a little after a tenth is to send at the next one all the same.
            earliest = self._sent_at + 0.9 * TICK
            await asyncio.sleep((earliest // TICK + 1) * TICK - now)

    async def _go_on(self) -> None:
        part = await self._tail.read(self._cursor, KEPT_EVENTS, LARGEST_DELTA)
        is_resuming = self._resuming_until is not None
        if part.lacks():
            await self._show_all("gap")
        elif not is_resuming and self._is_too_long(part):
            await self._show_all("lag")
        else:
            frame = await part.asked_frame(("delta", is_resuming), lambda part: self._write(part, is_resuming))
            self._cursor = part.upto
            if self._resuming_until is not None and self._cursor >= self._resuming_until:
                self._resuming_until = None
            await self._send(frame)

    def _is_too_long(self, part: Slice) -> bool:
        return self._tail.head - self._cursor > LONGEST_QUEUE and (
            part.upto < self._tail.head or len(conflate([entry.event for entry in part.entries])) > LONGEST_QUEUE
        )

    async def _write(self, part: Slice, is_resuming: bool) -> bytes:
        kept = {event.position for event in conflate([entry.event for entry in part.entries])}
        bodies = b",".join(entry.body for entry in part.entries if entry.position in kept)
        changed = {entry.event.job_id for entry in part.entries if not isinstance(entry.event, Progress)}
        jobs = await self._hub.pictures.jobs(self._request, changed)
        delta = Delta(
            seq=part.upto,
            now=self._kernel.clock.now(),
            events=msgspec.Raw(b"[%b]" % bodies),
            jobs=list(jobs.values()),
            removed=sorted(_removed(part) - jobs.keys()),  # without those that have been added again
            resumed=is_resuming,
        )
        return text_frame(write_message(delta))

    async def _show_all(self, reason: Reason) -> None:
        picture = await self._hub.pictures.take(self._request, self._cursor)
        self._cursor, self._resuming_until = picture.seq, None
        snapshot = Snapshot(
            reason=reason,
            log=self._kernel.log_id,
            seq=picture.seq,
            now=self._kernel.clock.now(),
            version=VERSION,
            role=self._identity.role,
            actor=self._identity.name,
            jobs=picture.jobs,
            running=picture.running,
            recent=picture.recent,
            health=picture.health,
        )
        await self._send(text_frame(write_message(snapshot)))

    async def _send(self, frame: bytes) -> None:
        self._window.sent(self._cursor)
        self._sent_at = asyncio.get_running_loop().time()
        await self._connection.pass_on(frame)


def _removed(part: Slice) -> set[str]:
    return {entry.event.job_id for entry in part.entries if isinstance(entry.event, JobRemoved)}


async def serve_live(request: web.Request) -> web.StreamResponse:
    """Serve a dashboard: a snapshot, then what changes, at a pace that it acknowledges (subprotocol gnomon.live.v1)."""
    feed = DashboardFeed(request)
    return await request.app[HUB].hold(
        request, feed.talk, hear=feed.hear, heartbeat=feed.heartbeat, protocols=(PROTOCOL,)
    )
