"""All WebSockets of a server, with the tail of the log and the snapshots that they share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import hdrs, web

from gnomon import Event, GnomonError, KernelApi, LoggedOut
from gnomon.wire.problems import TOO_MANY_CONNECTIONS
from gnomon_web.app_keys import AUTHENTICATOR, IDENTITY
from gnomon_web.auth.authenticator import Authenticator
from gnomon_web.auth.roles import LOCAL, Identity
from gnomon_web.errors import ApiError
from gnomon_web.live.eta_feed import SharedEtas
from gnomon_web.live.health_feed import SharedHealth
from gnomon_web.live.snapshots import Snapshots
from gnomon_web.live.tail import Tail
from gnomon_web.live.websocket import CLOSE_TIMEOUT_S, HangUp, Receive, WebSocket

LOGIN_ENDED = "the login has ended"


class LiveConnections:
    """All WebSockets of a server. Everything here is called on the loop of the plugin."""

    def __init__(self, kernel: KernelApi, max_connections: int) -> None:
        self.kernel = kernel
        self.tail = Tail(kernel, kernel.health().position)
        self.health = SharedHealth()
        self.etas = SharedEtas()
        self.snapshots = Snapshots(self.tail, self.health)
        self._max = max_connections
        self._open: dict[WebSocket, Identity] = {}
        self._logins_changed = asyncio.Event()
        self._closed_one = asyncio.Event()
        self._is_closing = False

    def publish(self, events: Sequence[Event]) -> None:
        """Publish events, in order of position; never blocks, never raises, keeps a bounded number of them."""
        self.tail.publish(events)
        if any(isinstance(event, LoggedOut) for event in events):
            self._logins_changed.set()

    def check_logins(self) -> None:
        """Request a check soon of whether the logins of all connections are open."""
        self._logins_changed.set()

    async def watch_logins(self, authenticator: Authenticator) -> None:
        """Close the connections whose logins have ended, in whichever process that was; runs until cancelled."""
        authenticator.sessions.on_change = self.check_logins
        while True:
            await self._logins_changed.wait()
            self._logins_changed.clear()
            if any(identity.session is not None for identity in self._open.values()):
                with contextlib.suppress(GnomonError):  # then it goes by what this process knows
                    await authenticator.sessions.read()
            for websocket, identity in list(self._open.items()):
                if not authenticator.is_valid(identity):
                    websocket.end(4401, LOGIN_ENDED)

    async def close(self) -> None:
        """Close all connections with 1012 (service restart); called before the server stops."""
        self._is_closing = True
        for websocket in self._open:
            websocket.end(1012, "the server restarts: connect again in a moment")
        with contextlib.suppress(TimeoutError):  # the end of the server aborts those that do not answer
            async with asyncio.timeout(CLOSE_TIMEOUT_S + 1):
                while self._open:
                    self._closed_one.clear()
                    await self._closed_one.wait()

    async def serve(
        self,
        request: web.Request,
        send: Callable[[WebSocket], Awaitable[None]],
        *,
        receive: Receive,
        heartbeat: Callable[[], bytes],
        protocols: tuple[str, ...] = (),
        deflates: bool = False,
    ) -> web.StreamResponse:
        """Open a WebSocket and serve it until one side hangs up or its login ends; `deflates` offers compression."""
        authenticator, identity = request.app[AUTHENTICATOR], request[IDENTITY]
        if (detail := self._refusal(identity)) is not None:
            raise ApiError(TOO_MANY_CONNECTIONS, detail, headers={hdrs.RETRY_AFTER: "5"})

        def check_login() -> None:
            if not authenticator.is_valid(identity):
                raise HangUp(4401, LOGIN_ENDED)

        websocket = WebSocket(request, protocols, deflates=deflates)
        self._open[websocket] = identity
        try:
            return await websocket.serve(send, receive=receive, heartbeat=heartbeat, check_login=check_login)
        finally:
            del self._open[websocket]
            self._closed_one.set()

    def _refusal(self, identity: Identity) -> str | None:
        """Return why a caller may open no WebSocket now, if so."""
        if len(self._open) >= self._max or self._is_closing:
            return f"{len(self._open)} WebSockets are open, and no more are accepted now (max_connections)"
        share = max(self._max // 2, 1)
        if identity is not LOCAL and [one.name for one in self._open.values()].count(identity.name) >= share:
            return f"{identity.name!r} has {share} WebSockets open, half of what there may be: close some of them"
        return None

    @property
    def count(self) -> int:
        """The number of open WebSockets."""
        return len(self._open)

    async def is_other_log(self, log: str | None, after: int) -> bool:
        """Return whether a client cannot resume after a position: its log is another one, or a backup was restored."""
        if log not in {None, self.kernel.log_id} or after > LAST_POSITION:
            return True
        if after <= max(self.tail.head, self.kernel.health().position):
            return False
        # A process that follows may not have read yet what the client has seen at another one.
        return not await self.kernel.events(after - 1, 1)


LAST_POSITION = 2**53
"""A position that no log reaches, and every store can look for."""
LIVE_CONNECTIONS = web.AppKey("live_connections", LiveConnections)
