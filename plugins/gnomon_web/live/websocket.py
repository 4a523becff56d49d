"""One WebSocket: opened, kept alive, limited in its buffers, and closed with a code and a reason."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from gnomon import StoreError
from gnomon.logs import get_logger

log = get_logger("gnomon.web")

HEARTBEAT_S = 10.0
"""Seconds of silence before a heartbeat is sent, and between two checks of the login."""
PEER_TIMEOUT_S = 60.0
"""Seconds after which a peer that neither sends anything nor answers a ping counts as gone."""
CLOSE_TIMEOUT_S = 2.0
"""Seconds in which a peer may answer a close frame."""
MAX_MESSAGE_BYTES = 64 * 1024
"""The largest message from a client; a larger one closes the connection with 1009."""
SEND_BUFFER_BYTES = 64 * 1024
"""Bytes buffered for a client in this process before a sender waits, and as many in the operating system. Without the
second limit Linux buffers megabytes for a client that reads nothing, and its view falls behind by that much."""
MIN_DEFLATED_BYTES = 1024
"""Bytes of the smallest frame that is deflated: less fits into one packet anyway."""
DEFLATE_LEVEL = 4
"""A snapshot of 200 kB takes 2 ms and a tenth of its bytes; at level 6 twice as long for 7 % less."""

Receive = Callable[[str], Awaitable[None]]


class HangUp(Exception):
    """The end of a connection, with the close code and reason for the client; not an error of the server."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class WebSocket:
    """Sends frames to one client. `send` waits while the client has not received what was sent before."""

    def __init__(self, request: web.Request, protocols: tuple[str, ...] = (), *, deflates: bool = False) -> None:
        self._request = request
        # aiohttp pings after this much silence and gives up after another half of it.
        self._socket = web.WebSocketResponse(
            heartbeat=PEER_TIMEOUT_S * 2 / 3,
            timeout=CLOSE_TIMEOUT_S,
            protocols=protocols,
            compress=deflates,
            max_msg_size=MAX_MESSAGE_BYTES,
        )
        self._ending: asyncio.Future[HangUp] = asyncio.get_running_loop().create_future()
        self._last_sent = 0.0
        self._writer: AbstractStreamWriter
        self.tasks: asyncio.TaskGroup

    @property
    def protocol(self) -> str | None:
        """The negotiated subprotocol."""
        return self._socket.ws_protocol

    @property
    def deflates(self) -> bool:
        """Whether the client reads frames that are deflated."""
        return self._socket.compress == zlib.MAX_WBITS  # the size of the window of those that several clients share

    async def serve(
        self,
        send: Callable[[WebSocket], Awaitable[None]],
        *,
        receive: Receive,
        heartbeat: Callable[[], bytes],
        check_login: Callable[[], None],
    ) -> web.WebSocketResponse:
        """Open it, serve until one side hangs up, close it.

        `send` sends the frames; when it returns, the connection is closed with 1000. `receive` gets the client's
        messages. `check_login` is called every ten seconds and raises HangUp when the login has ended.
        """
        await self._open()
        end = HangUp(1000, "")
        try:
            async with asyncio.TaskGroup() as self.tasks:
                self.tasks.create_task(self._receive(receive))
                self.tasks.create_task(self._beat(heartbeat, check_login))
                await send(self)
                raise end
        except* HangUp as group:
            end = next(_leaves(group))
        except* ConnectionError:
            end = HangUp(1006, "the client is gone")
        except* StoreError as group:
            end = HangUp(1013, f"cannot read the log now: {next(_leaves(group))}")
        except* Exception as group:  # the answer has begun, so no middleware can answer with a problem
            log.error("websocket failed", path=self._request.path, exc_info=group)
            end = HangUp(1011, "the server failed; see its log")
        finally:
            await self._close(end)
        return self._socket

    async def send(self, text: bytes) -> None:
        """Send a text; waits for this client while it lags."""
        await self.send_frame(text_frame(text))

    async def send_frame(self, frame: bytes) -> None:
        """Send a frame made by `text_frame`, which several clients may share; waits as `send` does."""
        transport = self._request.transport
        if transport is None or transport.is_closing() or self._socket.closed:
            raise ConnectionResetError("the client is gone")
        self._last_sent = asyncio.get_running_loop().time()
        # aiohttp's send_str copies the frame for each client and sends the header of a large one separately: 27 µs of
        # CPU for 17 kB against 18, and twice as many system calls that release the GIL.
        transport.write(frame)
        await self._writer.drain()

    def end(self, code: int, reason: str) -> None:
        """End the connection from outside."""
        if not self._ending.done():
            self._ending.set_result(HangUp(code, reason))

    async def _open(self) -> None:
        self._writer = await self._socket.prepare(self._request)
        self._last_sent = asyncio.get_running_loop().time()
        if (transport := self._request.transport) is not None:
            transport.set_write_buffer_limits(SEND_BUFFER_BYTES)
            with contextlib.suppress(AttributeError, OSError):  # a UNIX socket or a test's transport may not support it
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    async def _receive(self, receive: Receive) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.ERROR:
                break
            if message.type is not WSMsgType.TEXT:
                raise HangUp(4400, "expected text frames only")
            await receive(message.data)
        raise HangUp(1006, "the client is gone")

    async def _beat(self, heartbeat: Callable[[], bytes], check_login: Callable[[], None]) -> None:
        """Send a heartbeat after ten seconds of silence; check the login at least every ten seconds."""
        loop = asyncio.get_running_loop()
        while True:
            silent_in = self._last_sent + HEARTBEAT_S - loop.time()
            await asyncio.wait((self._ending,), timeout=max(silent_in, HEARTBEAT_S / 10))
            if self._ending.done():
                raise self._ending.result()
            check_login()
            if loop.time() - self._last_sent >= HEARTBEAT_S and self._buffered() == 0:
                await self.send(heartbeat())

    def _buffered(self) -> int:
        transport = self._request.transport
        return transport.get_write_buffer_size() if transport is not None else 0

    async def _close(self, end: HangUp) -> None:
        """Send a close frame to a client that reads; abort the connection of one that lags behind earlier frames."""
        try:
            # Below this mark asyncio lets senders continue; above it a close frame would wait with them.
            if self._buffered() <= SEND_BUFFER_BYTES // 4:
                reason = end.reason.encode()[:120].decode(errors="ignore").encode()
                await self._socket.close(code=end.code, message=reason, drain=False)
        finally:
            if self._buffered() and (transport := self._request.transport) is not None:
                transport.abort()  # close() would keep the unread data for as long as the client does not read


def _leaves(group: BaseExceptionGroup[Any]) -> Any:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one


def text_frame(text: bytes, *, deflated: bool = False) -> bytes:
    """Return the WebSocket frame of a text (RFC 6455, section 5.2), deflated if it is long (RFC 7692).

    A server's frames are not masked, so all clients can share the same bytes; a deflated one refers to no frame before.
    """
    kind = 0x81
    if deflated and len(text) >= MIN_DEFLATED_BYTES:
        deflate = zlib.compressobj(DEFLATE_LEVEL, wbits=-zlib.MAX_WBITS)
        text = (deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")
        kind = 0xC1
    size = len(text)
    if size < 126:
        return bytes((kind, size)) + text
    if size < 1 << 16:
        return bytes((kind, 0x7E)) + size.to_bytes(2) + text
    return bytes((kind, 0x7F)) + size.to_bytes(8) + text


async def ignore(_: str) -> None:
    """Ignore a client's message."""
