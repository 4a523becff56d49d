"""Accepts connections: asyncio's own server knows no limits, and logs each failed accept with a traceback.

With 1,100 idle connections and 1,024 descriptors it wrote 75 MB in 24 s, and the kernel could start no process.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from gnomon.forks import closed_in_children
from gnomon_web.auth.networks import bucket_of
from gnomon_web.config import Config
from gnomon_web.http.connections import Connection, Connections
from gnomon_web.http.rare_log import RareLog

BACKLOG = 128
"""Connections that wait in the operating system to be accepted."""
AT_ONCE = 32
"""Connections that are accepted before other work has its turn."""
RETRY_S = 0.5
"""Seconds until the next attempt, when the process or the machine has no descriptor left."""
HANDSHAKE_LIMIT_S = 10.0
"""Seconds for the handshake of TLS."""
GONE: Final = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH})
"""Errors of a connection that ended before it was accepted."""
FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
)
PROBLEM: Final = (
    b'{"type":"/docs/problems#too-many-connections","title":"Too many connections","status":503,'
    b'"detail":"the server has as many connections as it may have, and all are busy","errors":[]}'
)

Protocol = Callable[[Connection], asyncio.Protocol]


@asynccontextmanager
async def listening(
    config: Config, connections: Connections, protocol: Protocol, tls: ssl.SSLContext | None
) -> AsyncIterator[int]:
    """Accept connections during the block, each with its own protocol; yields the port. OSError if it cannot listen."""
    listener = _Listener(config, connections, protocol, tls)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(one) for one in await _bound(config)]
        stack.enter_context(closed_in_children(*(one.fileno() for one in sockets)))
        try:
            for one in sockets:
                one.listen(BACKLOG)
                listener.start(listener.accept(one))
            listener.start(connections.sweep())
            yield int(sockets[0].getsockname()[1])
        finally:
            await listener.stop()


async def _bound(config: Config) -> list[socket.socket]:
    """Return a socket for each address of the host. Only asyncio binds and names the errors; it does not listen."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, config.host, config.port, start_serving=False)
    sockets = [one.dup() for one in server.sockets]
    server.close()
    return sockets


class _Listener:
    def __init__(
        self, config: Config, connections: Connections, protocol: Protocol, tls: ssl.SSLContext | None
    ) -> None:
        self._config = config
        self._connections = connections
        self._protocol = protocol
        self._tls = tls
        self._log = RareLog()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that `stop` ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """End all tasks; open connections stay open."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def accept(self, listening_socket: socket.socket) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            for _ in range(AT_ONCE):
                try:
                    accepted, peer = await loop.sock_accept(listening_socket)
                except OSError as exc:
                    if exc.errno not in GONE:
                        reason = os.strerror(exc.errno or 0)
                        self._log.warning("cannot accept connections: retrying", problem=reason)
                        await asyncio.sleep(RETRY_S)
                    continue
                self._admit(accepted, str(peer[0]) if peer else "")
            await asyncio.sleep(0)

    def _admit(self, accepted: socket.socket, host: str) -> None:
        address = bucket_of(host)
        if not self._connections.make_room(address, is_proxy=self._config.is_trusted_proxy(host)):
            self._refuse(accepted)
            return
        connection = Connection(address)
        self._connections.add(connection)
        task = self.start(self._open(accepted, connection))
        connection.end = task.cancel
        # A task that is cancelled before it begins runs nothing; afterwards asyncio closes the socket.
        task.add_done_callback(lambda _: accepted.close() if connection.state == "accepted" else None)

    def _refuse(self, accepted: socket.socket) -> None:
        """Close a connection, with an answer where no handshake has to come first."""
        with contextlib.suppress(OSError), accepted:
            if self._tls is None:
                accepted.send(FULL % (len(PROBLEM), PROBLEM))
                accepted.shutdown(socket.SHUT_WR)

    async def _open(self, accepted: socket.socket, connection: Connection) -> None:
        connection.change("handshake")
        limit_s = HANDSHAKE_LIMIT_S if self._tls is not None else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._protocol(connection), accepted, ssl=self._tls, ssl_handshake_timeout=limit_s
            )
        except OSError:  # the client hung up or does not speak TLS; ssl.SSLError is an OSError
            self._connections.remove(connection)
        except BaseException:
            self._connections.remove(connection)
            raise
