"""A MongoDB server for tests: the one of $GNOMON_TEST_MONGODB_URI, else a daemon that is installed beside the tests.

The daemon is SecantusDB, which speaks the wire protocol. It runs as its own process and is never imported.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import mongomock.aggregate
import mongomock.collection
import pytest
from mongomock_motor import AsyncMongoMockClient
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from fault_runs import variants
from gnomon.errors import StoreError
from gnomon_mongo import MongoStore
from gnomon_mongo.drivers import Client, Driver, DriverName
from log_places import patient
from pymongo_sockets import hooks_for
from servers import MongoServer, eventually, find_mongo

pytest_collection_modifyitems, pytest_runtest_protocol, pytest_collection_finish = hooks_for(Path(__file__).parent)


@pytest.fixture(scope="session")
def daemon_program() -> str:
    return find_mongo()


@pytest.fixture
def daemon(daemon_program: str, tmp_path: Path) -> Iterator[MongoServer]:
    """Provide a server of the test's own, not started yet, to be killed at will."""
    (tmp_path / "server").mkdir()
    server = MongoServer(daemon_program, tmp_path / "server")
    yield server
    server.clean_up()


@pytest.fixture(name="eventually")
def eventually_() -> Callable[[Callable[[], Any]], Awaitable[None]]:
    return eventually


@pytest.fixture(scope="session")
def server_uri(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Provide the URI of a server that all tests share; each has its own database."""
    if uri := os.environ.get("GNOMON_TEST_MONGODB_URI"):
        yield uri
        return
    server = MongoServer(request.getfixturevalue("daemon_program"), tmp_path_factory.mktemp("mongodb"))
    server.start()
    yield server.uri
    server.clean_up()


@pytest.fixture(params=variants("motor", long=["pymongo"]))
def driver(request: pytest.FixtureRequest) -> Driver:
    """Provide the driver that is the default, and both in the long form: what they do differently has tests of both."""
    name: DriverName = request.param
    return Driver(name)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return patient(tmp_path / "spool.db")


@pytest.fixture
async def database(server_uri: str) -> AsyncIterator[Any]:
    """Provide an empty database of the test's own, as pymongo sees it."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(server_uri, tz_aware=True)
    name = f"gnomon_{uuid.uuid4().hex[:12]}"
    yield client[name]
    await client.drop_database(name)
    await client.close()


@pytest.fixture
async def make_store(
    server_uri: str, database: Any, driver: Driver, settings: dict[str, Any]
) -> AsyncIterator[Callable[..., MongoStore]]:
    """Provide a function that makes stores on the test's database, closed at its end."""
    async with AsyncExitStack() as stack:

        def make(**more: Any) -> MongoStore:
            store = MongoStore(server_uri, database.name, **({"driver": driver} | settings | more))
            stack.push_async_callback(store.close)
            return store

        yield make


@pytest.fixture
async def store(make_store: Callable[..., MongoStore]) -> MongoStore:
    """Provide an open store with an empty log."""
    store = make_store()
    await store.open()
    return store


class MockDriver(Driver):
    """Provides the client of mongomock, which is never closed, because it holds the data."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        self._client = client

    def connect(self, uri: str, **options: Any) -> Client:
        client: Client = self._client
        return client

    def waiting(self) -> Driver:
        raise StoreError("mongomock has no change streams")

    async def close(self, client: Client) -> None:
        pass


@pytest.fixture
def mock_driver(monkeypatch: pytest.MonkeyPatch) -> MockDriver:
    """Provide a driver for mongomock, with its own client."""
    builder = mongomock.collection.BulkOperationBuilder

    # mongomock 4.3 does not know what pymongo passes since 4.11 (mongomock issue 912).
    def without_sort(add: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, sort=None, **more: add(*args, **more)  # noqa: PLW0108 - it drops `sort`

    for name in ("add_replace", "add_update"):
        monkeypatch.setattr(builder, name, without_sort(getattr(builder, name)))
    process = mongomock.aggregate.process_pipeline

    def as_a_server(*args: Any) -> Any:
        try:
            return process(*args)  # type: ignore[no-untyped-call]
        except NotImplementedError as exc:
            raise OperationFailure(str(exc), 40324) from exc

    monkeypatch.setattr(mongomock.aggregate, "process_pipeline", as_a_server)
    return MockDriver(AsyncMongoMockClient(tz_aware=True))
