"""WebSocket frames as an independent client receives them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from gnomon_web.app_keys import CONFIG
from gnomon_web.config import Config
from gnomon_web.http.middlewares import answer_errors, note_response
from gnomon_web.live.websocket import text_frame

SIZES = (0, 1, 125, 126, 127, 65_535, 65_536, 200_000)
"""Around those at which the length is written in another way."""


@contextlib.asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        await web.SockSite(runner, listening).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        await runner.cleanup()


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
    async with serving(app) as url, aiohttp.ClientSession() as client, client.ws_connect(url) as ws:
        got = [(await asyncio.wait_for(ws.receive_str(), 60)).encode() for _ in SIZES]

    assert got == texts
    assert [len(text) for text in got] == list(SIZES)


async def test_a_client_that_leaves_during_the_handshake_is_not_an_error(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async def greet(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        raise AssertionError("it was opened to nobody")

    app = web.Application(middlewares=[answer_errors])
    app[CONFIG] = Config(port=0)
    app.on_response_prepare.append(note_response)
    app.router.add_get("/", greet)
    async with serving(app) as url, aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.ws_connect(url)

    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
    assert "request failed" not in capsys.readouterr().out
