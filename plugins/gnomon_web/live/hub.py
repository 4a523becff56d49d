"""Where events go to the browsers and programs that watch."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from aiohttp import web

from gnomon import Event, Kernel
from gnomon_web.keys import AUTHENTICATOR, IDENTITY
from gnomon_web.live.connection import FAREWELL, Connection, HangUp, Hear
from gnomon_web.live.pictures import Pictures
from gnomon_web.live.tail import Tail
from gnomon_web.problems import ApiError


class Hub:
    """All live connections of a server. Everything here is called on the loop of the plugin."""

    def __init__(self, kernel: Kernel, max_connections: int) -> None:
        self.kernel = kernel
        self.tail = Tail(kernel, kernel.health().position)
        self.pictures = Pictures(kernel, self.tail)
        self._most = max_connections
        self._connections: set[Connection] = set()
        self._gone = asyncio.Event()
        self._is_closing = False

    def publish(self, events: Sequence[Event]) -> None:
        """Take events in order of position; never blocks, never raises, keeps a bounded number of them."""
        self.tail.publish(events)

    async def close(self) -> None:
        """Say good-bye to all connections (1012: the server restarts); called before the server stops."""
        self._is_closing = True
        for connection in self._connections:
            connection.dismiss(1012, "the server restarts: come back in a moment")
        with contextlib.suppress(TimeoutError):  # who does not answer is cut off by the server's end
            async with asyncio.timeout(FAREWELL + 1):
                while self._connections:
                    self._gone.clear()
                    await self._gone.wait()

    async def hold(
        self,
        request: web.Request,
        talk: Callable[[Connection], Awaitable[None]],
        *,
        hear: Hear,
        heartbeat: Callable[[], bytes],
        protocols: tuple[str, ...] = (),
    ) -> web.StreamResponse:
        """Open a WebSocket and hold it until one side hangs up or the login of its user has ended."""
        if len(self._connections) >= self._most or self._is_closing:
            detail = f"there are {len(self._connections)} WebSockets open, and no more are taken (max_connections)"
            raise ApiError(503, detail, headers={"Retry-After": "5"})
        authenticator, identity = request.app[AUTHENTICATOR], request[IDENTITY]

        async def still_allowed() -> None:
            if not authenticator.is_valid(identity):
                raise HangUp(4401, "the login has ended")

        connection = Connection(request, protocols)
        self._connections.add(connection)
        try:
            return await connection.hold(talk, hear=hear, heartbeat=heartbeat, still_allowed=still_allowed)
        finally:
            self._connections.discard(connection)
            self._gone.set()

    @property
    def open_connections(self) -> int:
        """How many WebSockets are open."""
        return len(self._connections)

    def why_not(self, log: str | None, after: int) -> Literal["other-log"] | None:
        """Tell why nobody can go on after that position of that log: it is another one, or its backup was restored."""
        # The log may be ahead of what this plugin has been told.
        if log not in {None, self.kernel.log_id} or after > max(self.tail.head, self.kernel.health().position):
            return "other-log"
        return None


HUB = web.AppKey("hub", Hub)
"""Under this key handlers find the hub: `request.app[HUB]`."""
