"""Frames as they go over the wire, read by a client that knows nothing of ours."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
from aiohttp import web

from gnomon_web.live.connection import text_frame

SIZES = (0, 1, 125, 126, 127, 65_535, 65_536, 200_000)
"""Around those at which the length is written in another way."""


async def test_a_text_of_any_length_arrives_as_it_is() -> None:
    texts = [("é" * size).encode()[: size - size % 2] + b"x" * (size % 2) for size in SIZES]

    async def send_all(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        writer = await ws.prepare(request)
        assert request.transport is not None
        for text in texts:
            request.transport.write(text_frame(text))
            await writer.drain()
        await ws.close()
        return ws

    app = web.Application()
    app.router.add_get("/", send_all)
    runner = web.AppRunner(app)
    await runner.setup()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        await web.SockSite(runner, listening).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        async with aiohttp.ClientSession() as client, client.ws_connect(url) as ws:
            got = [(await asyncio.wait_for(ws.receive_str(), 60)).encode() for _ in SIZES]
        await runner.cleanup()

    assert got == texts
    assert [len(text) for text in got] == list(SIZES)
