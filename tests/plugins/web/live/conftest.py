"""A kernel on a SQLite file with its server, and clients of its WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gnomon import Event, Job, Kernel
from gnomon.plugins.plugin_set import PluginSet
from gnomon_sqlite import SqliteStore
from gnomon_web import WebPlugin
from gnomon_web.config import Config
from gnomon_web.live.connections import LiveConnections

PATIENCE = 60.0
"""Seconds until a test gives up: nothing waits that long unless something is wrong."""
PROTOCOL = "gnomon.live.v1"


class Socket:
    """A WebSocket of a test: frames as they are decoded, and how it ended."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def next(self, *kinds: str) -> dict[str, Any]:
        """Return the next frame, or the next one of these kinds."""
        while True:
            frame = await asyncio.wait_for(self.ws.receive(), PATIENCE)
            assert frame.type is aiohttp.WSMsgType.TEXT, f"{frame.type.name} {self.ws.close_code}"
            said: dict[str, Any] = json.loads(frame.data)
            if not kinds or said.get("type", said.get("t")) in kinds:
                return said

    async def rest(self) -> list[dict[str, Any]]:
        """Return all frames up to the end of the connection."""
        frames = []
        while (frame := await asyncio.wait_for(self.ws.receive(), PATIENCE)).type is aiohttp.WSMsgType.TEXT:
            frames.append(json.loads(frame.data))
        return frames

    async def events(self, upto: int) -> list[dict[str, Any]]:
        """Return the events of frames of `/ws/events` up to a position."""
        found: list[dict[str, Any]] = []
        seq = -1
        while seq < upto:
            frame = await self.next("events")
            found += frame["events"]
            seq = frame["seq"]
        return found

    async def say(self, **message: Any) -> None:
        await self.ws.send_str(json.dumps(message))

    async def end(self) -> int | None:
        """Wait for the end of the connection and return its code."""
        await self.rest()
        return self.ws.close_code

    def cut(self) -> None:
        """Break the connection as a network does: nobody says goodbye."""
        transport = self.ws._writer.transport
        transport.abort()


class Site:
    """A running kernel with its server."""

    def __init__(self, kernel: Kernel, web: WebPlugin, client: aiohttp.ClientSession, store: SqliteStore) -> None:
        self.kernel = kernel
        self.web = web
        self.client = client
        self.store = store

    @contextlib.asynccontextmanager
    async def open(self, path: str, **options: Any) -> AsyncIterator[Socket]:
        async with self.client.ws_connect(self.web.url + path, max_msg_size=0, **options) as ws:
            yield Socket(ws)

    @contextlib.asynccontextmanager
    async def dashboard(self, *, compress: int = 0, **hello: Any) -> AsyncIterator[Socket]:
        async with self.open("/ws/live", protocols=[PROTOCOL], compress=compress) as socket:
            await socket.say(t="hello", **hello)
            yield socket

    async def run(self, job_id: str, **kwargs: Any) -> str:
        """Run a job to its end and return the id of the execution."""
        execution = (await self.kernel.trigger(job_id, kwargs=kwargs)).execution
        await self.kernel.wait(execution.id)
        return execution.id

    async def log(self) -> list[Event]:
        """Return the whole log."""
        return list(await self.kernel.events(limit=1_000_000))

    async def has_told_all(self) -> None:
        """Wait until what is in the log has come to the server."""
        async with self.open("/ws/events?after=0") as reader:
            await reader.events(self.head)

    @property
    def live(self) -> LiveConnections:
        assert self.web._projections is not None
        return self.web._projections.live

    @property
    def head(self) -> int:
        return self.kernel.health().position


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., contextlib.AbstractAsyncContextManager[Site]]:
    """Start a kernel with its server: `async with serve(job, ...) as site`; a second one goes on with the same log."""

    @contextlib.asynccontextmanager
    async def start(*jobs: Job, file: str = "gnomon.db", **config: Any) -> AsyncIterator[Site]:
        web, store, plugins = WebPlugin(Config(port=0, **config)), SqliteStore(tmp_path / file), PluginSet()
        plugins.add(web, "web")
        kernel = Kernel(store=store, jobs=jobs, plugins=plugins, drain=timedelta(0))
        async with kernel, aiohttp.ClientSession(headers=config_headers(config)) as client:
            yield Site(kernel, web, client, store)

    return start


def config_headers(config: dict[str, Any]) -> dict[str, str]:
    tokens = config.get("tokens") or []
    return {"Authorization": f"Bearer {tokens[0].token.reveal()}"} if tokens else {}
