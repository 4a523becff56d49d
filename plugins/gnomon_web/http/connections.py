"""Every TCP connection of the server: how many there may be, and how long each may take for what it does.

State of one connection; each arrow back to `idle` is an answer that was sent:

    accepted ─► handshake ─► idle ─► head ─► busy ─► idle      until the client closes it or a limit does
                             ▲                │
                             └────────────────┴─► websocket   which has limits of its own: live/websocket.py

Connections need no login, so none may keep others out: when there is no room, the connection that has waited longest
for its client is closed. A new one is refused only while all are busy.
"""

from __future__ import annotations

import asyncio
import resource
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec

from gnomon.logs import get_logger
from gnomon_web.config import Config
from gnomon_web.http.rare_log import RareLog

log = get_logger("gnomon.web")

State = Literal["accepted", "handshake", "idle", "head", "busy", "websocket"]
WAITING: Final[tuple[State, ...]] = ("idle", "accepted", "handshake", "head")
"""The states in which a connection waits for its client, in the order in which they are closed to make room."""
SWEEP_S, SHORTEST_SWEEP_S = 1.0, 0.01
"""The most and the least seconds between two checks of the limits; a short limit is checked more often."""
MIN_BYTES_READ = 8 * 1024
"""Bytes that a client must read of an answer within `timeout`."""


class Limits(msgspec.Struct, frozen=True):
    """How many connections a server may have, in all and from one address, and how many of them may be WebSockets."""

    connections: int
    per_address: int
    websockets: int

    @classmethod
    def of(cls, config: Config, descriptors: int | None = None) -> Limits:
        """Return the limits for a config.

        The server uses at most half of the file descriptors that the process may open (by default its soft limit): the
        kernel needs the others for the pipes of its processes, the log and its plugins.
        """
        available = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if descriptors is None else descriptors
        connections = max(min(2 * config.max_connections, available // 2), 8)
        return cls(connections, max(connections // 2, 1), min(config.max_connections, connections * 3 // 4))


class Connection:
    """One connection. Its protocol reports what happens; `end` closes it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.state: State = "accepted"
        self.since = asyncio.get_running_loop().time()
        self.answers = 0
        self.end: Callable[[], object]
        self._transport: asyncio.WriteTransport | None = None
        self._unsent: tuple[int, float] | None = None

    def change(self, state: State) -> None:
        """Note that the connection has entered a state."""
        if self.state != "websocket":
            self.state, self.since = state, asyncio.get_running_loop().time()

    def opened(self, transport: asyncio.WriteTransport) -> None:
        """Note that the handshake is over."""
        self._transport, self.end = transport, transport.abort
        self.change("idle")

    def received(self) -> None:
        """Note that data came: the beginning of a request, if the connection was idle."""
        if self.state == "idle":
            self.change("head")

    def answered(self) -> None:
        """Note that an answer was sent, or is in the buffer of the transport."""
        self.answers += 1
        self.change("idle")

    def exceeds(self, config: Config, now: float) -> str | None:
        """Return the limit that the connection exceeds, if any."""
        if self.state == "websocket":
            return None
        limit_s = config.timeout.total_seconds()
        if self._is_stuck(now, limit_s):
            return "reading an answer"
        waited = now - self.since
        if self.state == "head" and waited > limit_s:
            return "sending a request"
        if self.state == "idle" and waited > (config.keep_alive.total_seconds() if self.answers else limit_s):
            return "idle"
        return None

    def _is_stuck(self, now: float, limit_s: float) -> bool:
        """Whether the client has read too little of an answer within the limit."""
        size = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if size == 0:
            self._unsent = None
        elif self._unsent is None or not self._unsent[0] - MIN_BYTES_READ < size <= self._unsent[0]:
            self._unsent = (size, now)
        return self._unsent is not None and now - self._unsent[1] > limit_s


class Connections:
    """All connections of a server."""

    def __init__(self, config: Config, limits: Limits) -> None:
        self.limits = limits
        self._config = config
        self._by_address: defaultdict[str, dict[Connection, None]] = defaultdict(dict)
        self._count = 0
        self._log = RareLog()

    @property
    def count(self) -> int:
        """The number of connections."""
        return self._count

    def make_room(self, address: str, *, is_proxy: bool) -> bool:
        """Make room for a connection from an address; False where there is none.

        Behind a trusted proxy are many clients, so only the total counts for it.
        """
        own = [one for one in self._by_address.get(address, ()) if one.state != "websocket"]
        if not is_proxy and len(own) >= self.limits.per_address and not self._close_one(own):
            self._log.warning("connections refused: one address has all that it may have", address=address)
            return False
        while self._count >= self.limits.connections:
            if not self._close_one(self._of_largest()):
                self._log.warning("connections refused: all are busy", open=self._count)
                return False
        return True

    def add(self, connection: Connection) -> None:
        """Add a connection."""
        self._by_address[connection.address][connection] = None
        self._count += 1

    def remove(self, connection: Connection) -> None:
        """Remove a connection that is closed, or is being closed; does nothing for an unknown one."""
        of_address = self._by_address.get(connection.address, {})
        if connection in of_address:
            del of_address[connection]
            self._count -= 1
            if not of_address:
                del self._by_address[connection.address]

    async def sweep(self) -> None:
        """Close connections that exceed a limit, until cancelled."""
        limits = (self._config.timeout, self._config.keep_alive)
        interval = max(SHORTEST_SWEEP_S, min(SWEEP_S, *(limit.total_seconds() / 4 for limit in limits)))
        while True:
            await asyncio.sleep(interval)
            now = asyncio.get_running_loop().time()
            for connection in [one for of_address in self._by_address.values() for one in of_address]:
                if (limit := connection.exceeds(self._config, now)) is not None:
                    log.debug("connection closed: its client took too long", limit=limit, address=connection.address)
                    self._close(connection)

    def _of_largest(self) -> Iterable[Connection]:
        """Yield the connections that wait for their clients, those of the address with most of them first."""
        waiting = [[one for one in own if one.state in WAITING] for own in self._by_address.values()]
        return max(waiting, key=len, default=[])

    def _close_one(self, candidates: Iterable[Connection]) -> bool:
        """Close the connection that has waited longest for its client; False if none does."""
        waiting = [one for one in candidates if one.state in WAITING]
        if not waiting:
            return False
        self._close(min(waiting, key=lambda one: (WAITING.index(one.state), one.since)))
        return True

    def _close(self, connection: Connection) -> None:
        self.remove(connection)
        connection.end()
