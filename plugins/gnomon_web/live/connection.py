"""One WebSocket: opened, kept alive, bounded in what it holds, and closed with a reason."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from gnomon import StoreError

log = structlog.stdlib.get_logger("gnomon.web")

HEARTBEAT = 10.0
"""Seconds of silence after which a heartbeat is sent, and between two looks at whether the session still holds."""
PATIENCE = 60.0
"""Seconds after which a peer that neither sends anything nor answers a ping is given up."""
FAREWELL = 2.0
"""Seconds in which a peer may answer a close frame."""
LARGEST_MESSAGE = 64 * 1024
"""Bytes of a message from a client; a larger one closes the connection with 1009."""
SEND_BUFFER = 64 * 1024
"""Bytes that this process holds for a client before a sender waits, and as many in the kernel. Without the second one
Linux takes in megabytes for a client that reads nothing, and what it shows later is as old as that."""

Hear = Callable[[str], Awaitable[None]]


class HangUp(Exception):
    """The end of a conversation, with the code and the reason that the client is told; not an error of ours."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Connection:
    """Sends frames to one client. `send` waits while the client has not taken what was sent before."""

    def __init__(self, request: web.Request, protocols: tuple[str, ...] = ()) -> None:
        self._request = request
        # aiohttp pings after that much silence and gives up after half of it again.
        self._socket = web.WebSocketResponse(
            heartbeat=PATIENCE * 2 / 3,
            timeout=FAREWELL,
            protocols=protocols,
            compress=False,
            max_msg_size=LARGEST_MESSAGE,
        )
        self._dismissed: asyncio.Future[HangUp] = asyncio.get_running_loop().create_future()
        self._last_sent = 0.0
        self._writer: AbstractStreamWriter
        self.tasks: asyncio.TaskGroup

    @property
    def protocol(self) -> str | None:
        """The subprotocol that was agreed upon."""
        return self._socket.ws_protocol

    async def hold(
        self,
        talk: Callable[[Connection], Awaitable[None]],
        *,
        hear: Hear,
        heartbeat: Callable[[], bytes],
        still_allowed: Callable[[], Awaitable[None]],
    ) -> web.WebSocketResponse:
        """Open it, talk until somebody hangs up, close it.

        `talk` sends; when it returns the connection is closed with 1000. `hear` gets the client's messages.
        `still_allowed` is asked every ten seconds and raises HangUp when the session is over.
        """
        await self._open()
        end = HangUp(1000, "")
        try:
            async with asyncio.TaskGroup() as self.tasks:
                self.tasks.create_task(self._listen(hear))
                self.tasks.create_task(self._beat(heartbeat, still_allowed))
                await talk(self)
                raise end
        except* HangUp as group:
            end = next(_leaves(group))
        except* ConnectionError:
            end = HangUp(1006, "the client has gone")
        except* StoreError as group:
            end = HangUp(1013, f"the log cannot be read now: {next(_leaves(group))}")
        except* Exception as group:  # the answer has begun: no middleware can tell of it any more
            log.error("websocket failed", path=self._request.path, exc_info=group)
            end = HangUp(1011, "the server failed; its log tells more")
        finally:
            await self._close(end)
        return self._socket

    async def send(self, text: bytes) -> None:
        """Send a text; waits for a client that is behind, and nobody else does."""
        await self.pass_on(text_frame(text))

    async def pass_on(self, frame: bytes) -> None:
        """Send what `text_frame` has made, once for all who get the same; waits as `send` does."""
        transport = self._request.transport
        if transport is None or transport.is_closing() or self._socket.closed:
            raise ConnectionResetError("the client has gone")
        self._last_sent = asyncio.get_running_loop().time()
        # Not by aiohttp's send_str, which copies a frame for each client, and sends the head of a large one by itself:
        # 18 µs of CPU for 17 kB against 27, and half as often does this thread let another one take its turn.
        transport.write(frame)
        await self._writer.drain()

    def dismiss(self, code: int, reason: str) -> None:
        """Let the conversation end, from outside of it."""
        if not self._dismissed.done():
            self._dismissed.set_result(HangUp(code, reason))

    async def _open(self) -> None:
        self._writer = await self._socket.prepare(self._request)
        self._last_sent = asyncio.get_running_loop().time()
        if (transport := self._request.transport) is not None:
            transport.set_write_buffer_limits(SEND_BUFFER)
            with contextlib.suppress(AttributeError, OSError):  # a UNIX socket or a test's transport may refuse
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

    async def _listen(self, hear: Hear) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.ERROR:
                break
            if message.type is not WSMsgType.TEXT:
                raise HangUp(4400, "text frames only")
            await hear(message.data)
        raise HangUp(1006, "the client has gone")

    async def _beat(self, heartbeat: Callable[[], bytes], still_allowed: Callable[[], Awaitable[None]]) -> None:
        """Wake after ten seconds of silence, and at least every ten seconds."""
        loop = asyncio.get_running_loop()
        while True:
            silent_in = self._last_sent + HEARTBEAT - loop.time()
            await asyncio.wait((self._dismissed,), timeout=max(silent_in, HEARTBEAT / 10))
            if self._dismissed.done():
                raise self._dismissed.result()
            await still_allowed()
            if loop.time() - self._last_sent >= HEARTBEAT and self._buffered() == 0:
                await self.send(heartbeat())

    def _buffered(self) -> int:
        transport = self._request.transport
        return transport.get_write_buffer_size() if transport is not None else 0

    async def _close(self, end: HangUp) -> None:
        """Say goodbye to who listens; cut off who has not even read what came before."""
        try:
            # Below that mark asyncio lets senders go on. Above it a close frame would wait with them.
            if self._buffered() <= SEND_BUFFER // 4:
                reason = end.reason.encode()[:120].decode(errors="ignore").encode()
                await self._socket.close(code=end.code, message=reason, drain=False)
        finally:
            if self._buffered() and (transport := self._request.transport) is not None:
                transport.abort()  # close() would keep what nobody reads for as long as nobody reads it


def _leaves(group: BaseExceptionGroup[Any]) -> Any:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one


def text_frame(text: bytes) -> bytes:
    """Put its head before a text, as RFC 6455, 5.2 has it.

    What a server sends is not masked, so that all clients can be sent the same bytes.
    """
    size = len(text)
    if size < 126:
        return bytes((0x81, size)) + text
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2) + text
    return b"\x81\x7f" + size.to_bytes(8) + text


async def ignore(_: str) -> None:
    """Hear nothing of what a client says."""
