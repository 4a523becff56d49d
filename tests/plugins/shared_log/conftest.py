"""A log on each kind of server, for the tests of what their stores share."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gnomon_shared_log.ports.server_log import ServerLog
from gnomon_shared_log.shared_log import SharedLog
from log_places import LogServer, make_database, patient, place_on, server_of, store_of
from pymongo_sockets import hooks_for

pytest_collection_modifyitems, pytest_runtest_protocol, pytest_collection_finish = hooks_for(Path(__file__).parent)


@pytest.fixture(scope="session", params=["mongo", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogServer]:
    """Provide the server that all tests share; each has its own database."""
    with server_of(request.param, tmp_path_factory.mktemp("server") / request.param) as server:
        yield server


@pytest.fixture
def database(server: LogServer) -> str:
    """Provide the name of an empty database of the test's own."""
    name = f"gnomon_{uuid.uuid4().hex[:12]}"
    make_database(server, name)
    return name


@pytest.fixture
def place(server: LogServer, database: str) -> str:
    return place_on(server, database)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return patient(tmp_path / "spool.db")


@pytest.fixture
async def make_store(place: str, settings: dict[str, Any]) -> AsyncIterator[Callable[..., SharedLog[Any]]]:
    """Provide a function that makes stores on the test's database, closed at its end."""
    async with AsyncExitStack() as stack:

        def make(**more: Any) -> SharedLog[Any]:
            store = shared_store(more.pop("place", place), **settings | more)
            stack.push_async_callback(store.close)
            return store

        yield make


@pytest.fixture
async def log(make_store: Callable[..., SharedLog[Any]]) -> AsyncIterator[ServerLog[Any]]:
    """Provide the tables of a new log, in which nobody leads."""
    store = make_store()
    await store._log.connect()
    await store._identify(read_only=False)
    yield store._log
    await store._log.close()


def shared_store(place: str, **settings: Any) -> SharedLog[Any]:
    store = store_of(place, **settings)
    assert isinstance(store, SharedLog)
    return store
