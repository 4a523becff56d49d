"""Repeatedly lost connections and a killed server: a client sees every event once, in order."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import aiohttp
import msgspec
import pytest

from gnomon_sqlite import SqliteStore
from servers import Port

PATIENCE = 120.0
ENOUGH, CUTS = 60, 3
"""Events that are seen between two deaths of the server, and connections in which they are."""

JOBS = """
import asyncio

from gnomon import current


async def talks():
    for number in range(3):
        current().step(f"step {number}")
        await asyncio.sleep(0.005)
"""
CONFIG = """
[kernel]
drain = "0s"
[plugins.sqlite]
[plugins.web]
port = {port}
[[jobs]]
id = "talks"
func = "jobs:talks"
every = "30ms"
overlap = "allow"
catch_up = "none"
"""


class Server:
    """`gnomon run` as its own process, which is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = Port()
        (folder / "jobs.py").write_text(JOBS)
        (folder / "gnomon.toml").write_text(CONFIG.format(port=self.port.number))
        self.folder = folder
        self.url = f"ws://127.0.0.1:{self.port.number}/ws/events"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GNOMON")}
        command = [sys.executable, "-m", "gnomon.cli", "run"]
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=said, stderr=said)

    def end(self, number: signal.Signals) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(PATIENCE)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.start()
    yield made
    made.end(signal.SIGKILL)
    made.port.release()


class Reader:
    """Follows the log over whatever happens to its connections, and keeps what it has seen."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: list[int] = []
        self.logs: set[str] = set()
        self.kinds: set[str] = set()
        self.seq = 0
        self.connections = 0

    async def see_enough(self, following: asyncio.Task[None]) -> None:
        """Wait until it has seen enough of what another process does."""
        seen, connections = len(self.seen) + ENOUGH, self.connections + CUTS
        async with asyncio.timeout(PATIENCE):
            while len(self.seen) < seen or self.connections < connections:
                if following.done():
                    following.result()  # raises what has ended it
                await asyncio.sleep(0.01)

    async def follow(self) -> None:
        async with aiohttp.ClientSession() as client:
            while True:
                try:
                    await self._connect(client)
                except (aiohttp.ClientError, OSError):
                    await asyncio.sleep(0.02)

    async def _connect(self, client: aiohttp.ClientSession) -> None:
        log = f"&log={next(iter(self.logs))}" if self.logs else ""
        async with client.ws_connect(f"{self.url}?after={self.seq}{log}") as ws:
            self.connections += 1
            for _ in range(random.randint(1, 15)):
                message = await ws.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                self._take(msgspec.json.decode(message.data))
            ws._writer.transport.abort()

    def _take(self, frame: dict[str, object]) -> None:
        self.kinds.add(str(frame["type"]))
        if frame["type"] == "ready":
            self.logs.add(str(frame["log"]))
        elif frame["type"] == "events":
            self.seen += [event["position"] for event in frame["events"]]  # type: ignore[attr-defined]
            self.seq = frame["seq"]  # type: ignore[assignment]


@pytest.mark.timeout(600)  # a server starts four times
async def test_a_client_sees_every_event_once_over_cut_connections_and_a_killed_server(server: Server) -> None:
    reader = Reader(server.url)
    following = asyncio.create_task(reader.follow())
    try:
        for _ in range(3):
            await reader.see_enough(following)
            await asyncio.to_thread(server.end, signal.SIGKILL)
            await asyncio.to_thread(server.start)
        await reader.see_enough(following)
    finally:
        following.cancel()
    await asyncio.to_thread(server.end, signal.SIGTERM)

    store = SqliteStore(server.folder / "gnomon.db")
    await store.open(read_only=True)
    log = [event.position for event in await store.read(0, 1_000_000)]
    await store.close()
    assert all(after == before + 1 for before, after in pairwise(reader.seen)), "once, in order, without a gap"
    assert reader.seen == log[: len(reader.seen)]
    assert len(reader.logs) == 1
    assert reader.kinds <= {"ready", "events", "heartbeat"}
