from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gnomon.ports import Store
from gnomon.testing.contracts import StoreContract
from gnomon_sqlite import SqliteStore
from gnomon_sqlite.views.projection_writer import FLUSH_THRESHOLD


class TestSqliteStore(StoreContract):
    @pytest.fixture(params=[2, FLUSH_THRESHOLD])
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
        """Answers must not depend on whether views are flushed."""
        store = SqliteStore(tmp_path / "gnomon.db")
        store.flush_threshold = request.param
        async with store:
            yield store

    def another(self, store: Store) -> Store:
        assert isinstance(store, SqliteStore)
        return SqliteStore(store.path)
