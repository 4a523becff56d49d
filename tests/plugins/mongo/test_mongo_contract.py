"""The contract of stores, on a real wire server and both drivers, and what mongomock can of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import mongomock.collection
import pytest
from mongomock_motor import AsyncMongoMockClient

from gnomon.ports import Store
from gnomon.testing.contracts import StoreContract
from gnomon_mongo import MongoStore
from gnomon_mongo.drivers import Client, Driver

PATIENCE = timedelta(seconds=30)
"""What the contract asks for in one call takes the test's server a second or more where the machine is busy."""


class TestMongoStore(StoreContract):
    @pytest.fixture
    async def store(self, make_store: Callable[..., MongoStore]) -> Store:
        self.make_store = make_store
        store = make_store(timeout=PATIENCE)
        await store.open()
        return store

    def another(self, store: Store) -> Store:
        return self.make_store(timeout=PATIENCE)


class MockDriver(Driver):
    """Provides the client of mongomock, which is never closed, because it holds the data."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        self._client = client

    def connect(self, uri: str, **options: Any) -> Client:
        client: Client = self._client
        return client

    async def close(self, client: Client) -> None:
        pass


class TestMongoStoreOnMongomock(StoreContract):
    exclusive = readable_beside = True

    @pytest.fixture
    async def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
        builder = mongomock.collection.BulkOperationBuilder

        # mongomock 4.3 does not know what pymongo passes since 4.11 (mongomock issue 912).
        def without_sort(add: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *args, sort=None, **more: add(*args, **more)  # noqa: PLW0108 - it drops `sort`

        for name in ("add_replace", "add_update"):
            monkeypatch.setattr(builder, name, without_sort(getattr(builder, name)))
        self.driver = MockDriver(AsyncMongoMockClient(tz_aware=True))
        self.spool = tmp_path / "spool.db"
        async with MongoStore(database="gnomon", driver=self.driver, spool=self.spool) as store:
            yield store

    def another(self, store: Store) -> Store:
        return MongoStore(database="gnomon", driver=self.driver, spool=self.spool)
