"""The contract of stores, on a real wire server, and what mongomock can of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from gnomon.ports import Store
from gnomon.testing.contracts import StoreContract
from gnomon_mongo import MongoStore
from gnomon_mongo.drivers import Driver
from gnomon_shared_log.writing import pace, spooling_writer

PATIENCE = timedelta(seconds=30)
"""What the contract asks for in one call takes the test's server a second or more where the machine is busy."""


@pytest.fixture(autouse=True)
def deletions_are_not_spaced_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop what has tests of its own: small steps, long pauses, and ten seconds of rest after slow appends."""
    monkeypatch.setattr(pace, "PAUSE_RATIO", 0.0)
    monkeypatch.setattr(pace, "STEP_S", 60.0)
    monkeypatch.setattr(pace, "RECHECK_S", 0.02)
    monkeypatch.setattr(spooling_writer, "SLOW_MEMORY_S", 0.0)


class TestMongoStore(StoreContract):
    @pytest.fixture
    async def store(self, make_store: Callable[..., MongoStore]) -> Store:
        self.make_store = make_store
        store = make_store(timeout=PATIENCE)
        await store.open()
        return store

    def another(self, store: Store) -> Store:
        return self.make_store(timeout=PATIENCE)


class TestMongoStoreOnMongomock(StoreContract):
    exclusive = readable_beside = True

    @pytest.fixture
    async def store(self, tmp_path: Path, mock_driver: Driver) -> AsyncIterator[Store]:
        self.driver = mock_driver
        self.spool = tmp_path / "spool.db"
        async with MongoStore(database="gnomon", driver=self.driver, spool=self.spool) as store:
            yield store

    def another(self, store: Store) -> Store:
        return MongoStore(database="gnomon", driver=self.driver, spool=self.spool)
