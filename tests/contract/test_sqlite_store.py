from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gnomon.ports import Store
from gnomon.testing.contracts import StoreContract
from gnomon_sqlite import SqliteStore
from gnomon_sqlite.filing import FILED_AT_ONCE


class TestSqliteStore(StoreContract):
    @pytest.fixture(params=[2, FILED_AT_ONCE])
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
        """Answers are the same, whether they come from the tables or from events that are not filed yet."""
        store = SqliteStore(tmp_path / "gnomon.db")
        store.filed_at_once = request.param
        async with store:
            yield store

    def another(self, store: Store) -> Store:
        assert isinstance(store, SqliteStore)
        return SqliteStore(store.path)
