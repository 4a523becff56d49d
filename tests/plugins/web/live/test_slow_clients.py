"""Clients that read slowly or not at all cost little and do not affect others."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from yarl import URL

from gnomon import Job
from gnomon_web.live import websocket
from gnomon_web.live.dashboard_feed import MAX_DELTA_BYTES
from gnomon_web.live.tail import PAGE_BYTES
from gnomon_web.live.websocket import SEND_BUFFER_BYTES
from servers import eventually

HELLO = b'{"t":"hello"}'


async def swallow(text: str) -> None: ...


SWALLOW = Job(id="swallow", func=swallow, overlap="allow", kwargs={"text": ""})


@asynccontextmanager
async def deaf(url: str, path: str) -> AsyncIterator[socket.socket]:
    """Open a WebSocket by hand, with the smallest receive buffer that there is, and never read from it."""
    address = URL(url)
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, (address.host, address.port))
        key = base64.b64encode(os.urandom(16)).decode()
        await loop.sock_sendall(
            client,
            f"GET {path} HTTP/1.1\r\nHost: {address.authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: gnomon.live.v1\r\n\r\n".encode(),
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await loop.sock_recv(client, 1)
        assert b" 101 " in answer.split(b"\r\n")[0]
        if path == "/ws/live":
            mask = os.urandom(4)
            masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(HELLO))
            await loop.sock_sendall(client, bytes([0x81, 0x80 | len(HELLO)]) + mask + masked)
        yield client


async def flood(site: Any, runs: int, size: int) -> None:
    """Fill the log with runs whose arguments are large."""
    for _ in range(0, runs, 50):
        await asyncio.gather(*(site.kernel.trigger("swallow", kwargs={"text": "x" * size}) for _ in range(50)))
    await eventually(lambda: site.kernel.is_idle and not site.kernel.health().running)


async def test_clients_that_never_read_cost_little_and_the_others_get_everything(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten readers get 1.8 MB each; what waits for each of the nine who read nothing is less than a third of that."""
    monkeypatch.setattr(websocket, "PEER_TIMEOUT_S", 600.0)  # none of them is given up, however long it takes
    paths = ["/ws/events?after=0", "/ws/progress/swallow", "/ws/live"]
    async with serve(SWALLOW) as site, AsyncExitStack() as stack:
        for path in paths * 3:
            await stack.enter_async_context(deaf(site.web.url, path))
        readers = [await stack.enter_async_context(site.open(paths[0])) for _ in range(10)]
        reading = [asyncio.create_task(reader.events(3 * 400 + 3)) for reader in readers]

        await flood(site, 400, 4_000)
        seen = [[event["position"] for event in await task] for task in reading]

        held = [each._buffered() for each in site.live._open]
        kept = site.live.tail._bytes
        log = [event.position for event in await site.log()]
    assert seen == [log] * 10
    assert max(held) > 0, "one at least is held up, or this shows nothing"
    assert max(held) <= SEND_BUFFER_BYTES + max(PAGE_BYTES, MAX_DELTA_BYTES) + 10_000
    assert kept < 16 * 1024 * 1024


async def test_a_client_that_neither_reads_nor_answers_pings_is_disconnected(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(SWALLOW) as site, site.open("/ws/events?after=0") as reader:
        monkeypatch.setattr(websocket, "PEER_TIMEOUT_S", 0.6)  # with the next one; the reader has it as it was
        async with deaf(site.web.url, "/ws/events?after=0"):
            reading = asyncio.create_task(reader.events(3 * 200 + 3))
            await flood(site, 200, 4_000)
            seen = await reading

            await eventually(lambda: site.live.count == 1)

    assert len(seen) == 3 * 200 + 3


async def test_a_reader_that_was_asleep_gets_everything_at_its_own_pace(serve: Any) -> None:
    async with serve(SWALLOW) as site, site.open("/ws/events?after=0") as reader:
        await flood(site, 300, 4_000)

        seen = await reader.events(site.head)

    assert [event["position"] for event in seen] == list(range(1, 3 * 300 + 4))


async def test_connections_beyond_the_limit_are_refused(serve: Any) -> None:
    async with (
        serve(max_connections=2) as site,
        site.open("/ws/events"),
        site.open("/ws/events"),
        site.client.get(site.web.url + "/ws/events") as refused,
    ):
        problem = await refused.json()

    assert refused.status == 503
    assert "max_connections" in problem["detail"]
