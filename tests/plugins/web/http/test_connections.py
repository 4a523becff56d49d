"""Connections are limited in number and time, whatever their clients do, and nobody has to log in to be limited."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gnomon import Duration
from gnomon_web.config import Config
from gnomon_web.http.connections import Limits

PATIENCE = 60.0
SHORT = Duration(milliseconds=200)
LONG = Duration(hours=1)


class Client:
    """A TCP connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ask(self, path: str = "/livez") -> bytes:
        """Send a request and return the head of the answer."""
        await self.send(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
        return await self.head()

    async def head(self) -> bytes:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        await self.reader.readexactly(int(length.split(b":")[1]))
        return head

    async def ended(self) -> bytes:
        """Wait until the server has closed the connection, and return what it sent before."""
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(), PATIENCE)
        return b""


@contextlib.asynccontextmanager
async def connected(ask: Any, count: int = 1, local: str = "127.0.0.1") -> AsyncIterator[list[Client]]:
    host, port = ask.web.address
    clients = [Client(*await asyncio.open_connection(host, port, local_addr=(local, 0))) for _ in range(count)]
    try:
        yield clients
    finally:
        for client in clients:
            client.writer.transport.abort()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Limit the connections of the server."""

    def limit(connections: int, per_address: int) -> None:
        limits = Limits(connections, per_address, connections)
        monkeypatch.setattr("gnomon_web.plugin.Limits.of", lambda _: limits)

    return limit


# --- time ---


async def test_a_connection_that_never_sends_a_request_is_closed(serve: Any) -> None:
    async with serve(timeout=SHORT, keep_alive=LONG) as ask, connected(ask) as (client,):
        assert await client.ended() == b""


@pytest.mark.parametrize(
    "beginning", [b"G", b"GET /livez HTTP/1.1\r\n", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-"]
)
async def test_a_client_that_sends_its_request_in_drips_is_closed(serve: Any, beginning: bytes) -> None:
    async with serve(timeout=SHORT, keep_alive=LONG) as ask, connected(ask) as (client,):
        await client.send(beginning)
        ended = asyncio.create_task(client.ended())
        while not ended.done():
            with contextlib.suppress(ConnectionError):
                await client.send(b"a")
            await asyncio.sleep(0.01)

        assert b"200 OK" not in await ended


async def test_an_idle_connection_is_closed_after_keep_alive_and_not_before_a_slow_second_request(serve: Any) -> None:
    async with serve(timeout=LONG, keep_alive=SHORT) as ask, connected(ask) as (client,):
        assert b"200 OK" in await client.ask()
        assert await client.ended() == b""


async def test_a_busy_connection_is_not_closed(serve: Any) -> None:
    async def body() -> None: ...

    async with (
        serve(body, timeout=LONG, keep_alive=SHORT) as ask,
        ask.client.ws_connect(f"{ask.web.url}/ws/events") as ws,
        connected(ask) as (idle,),
    ):
        assert (await ws.receive_json())["type"] == "ready"
        assert b"200 OK" in await idle.ask()
        await idle.ended()  # the limit of idle connections is over for both
        run = (await ask.kernel.trigger("body")).execution.id
        frame = await asyncio.wait_for(ws.receive_json(), PATIENCE)
        assert run in str(frame)


async def test_a_client_that_does_not_read_its_answer_is_cut_off(serve: Any) -> None:
    async with serve(timeout=SHORT, keep_alive=LONG) as ask, connected(ask) as (client,):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        with contextlib.suppress(ConnectionError):
            while not client.writer.is_closing():
                await client.send(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
                await asyncio.sleep(0.01)


# --- number ---


async def test_one_address_cannot_have_all_connections(serve: Any, few: Callable[..., None]) -> None:
    few(20, 10)
    async with (
        serve(timeout=LONG, keep_alive=LONG) as ask,
        connected(ask, 30) as flood,
        connected(ask, local="127.0.0.2") as (other,),
    ):
        for client in flood[:20]:
            await client.ended()
        assert b"200 OK" in await other.ask()
        assert b"200 OK" in await flood[-1].ask()


async def test_idle_connections_make_room_for_new_ones(serve: Any, few: Callable[..., None]) -> None:
    few(10, 10)
    async with serve(timeout=LONG, keep_alive=LONG) as ask, connected(ask, 10) as early:
        for client in early:
            assert b"200 OK" in await client.ask()
        async with connected(ask) as (late,):
            assert b"200 OK" in await late.ask()
            assert await early[0].ended() == b""
        assert b"200 OK" in await early[-1].ask()


async def test_busy_connections_are_kept_and_new_ones_refused_with_a_problem(
    serve: Any, few: Callable[..., None], logged: list[Any]
) -> None:
    few(8, 8)
    async with serve(timeout=LONG, keep_alive=LONG) as ask, contextlib.AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(ask.client.ws_connect(f"{ask.web.url}/ws/events")) for _ in range(8)]
        for viewer in viewers:
            assert (await viewer.receive_json())["type"] == "ready"
        for _ in range(50):
            async with connected(ask) as (refused,):
                answer = await refused.ended()
                assert answer.startswith(b"HTTP/1.1 503 ") or answer == b""

    refusals = [line for line in logged if line["event"].startswith("connections refused")]
    assert len(refusals) == 1


async def test_handshakes_count_as_connections(
    serve: Any, few: Callable[..., None], certificate: tuple[Any, Any]
) -> None:
    few(10, 10)
    cert, key = certificate
    async with serve(timeout=LONG, keep_alive=LONG, tls_cert=cert, tls_key=key) as ask, connected(ask, 40) as silent:
        answer = await ask("GET", "/livez", ssl=False)
        for client in silent[:20]:
            await client.ended()

    assert answer.status == 200


def test_the_limits_leave_half_of_the_descriptors_to_the_kernel() -> None:
    assert Limits.of(Config(), 1024) == Limits(512, 256, 384)
    assert Limits.of(Config(), 65_536) == Limits(1000, 500, 500)
    assert Limits.of(Config(max_connections=10_000), 1_000_000).websockets == 10_000
    assert Limits.of(Config(), 10) == Limits(8, 4, 6)


# --- accepting ---


async def test_a_failed_accept_is_logged_once_and_repeated(
    serve: Any, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon_web.http.listener.RETRY_S", 0.0)
    failures = [OSError(24, "Too many open files")] * 200
    plain: Callable[..., Awaitable[Any]] = asyncio.SelectorEventLoop.sock_accept

    async def fails(self: Any, sock: Any) -> Any:
        if failures:
            raise failures.pop()
        return await plain(self, sock)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_accept", fails)
    async with serve() as ask:
        assert (await ask("GET", "/livez")).status == 200

    assert not failures
    assert [line["event"] for line in logged if "accept" in line["event"]] == ["cannot accept connections: retrying"]
