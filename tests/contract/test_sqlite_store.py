from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gnomon.ports import Store
from gnomon.testing.contracts import StoreContract
from gnomon_sqlite import SqliteStore


class TestSqliteStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with SqliteStore(tmp_path / "gnomon.db") as store:
            yield store

    def another(self, store: Store) -> Store:
        assert isinstance(store, SqliteStore)
        return SqliteStore(store.path)
