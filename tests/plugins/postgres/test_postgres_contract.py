"""The PostgreSQL store keeps the contract of stores, directly and through a pooler in transaction mode."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gnomon.ports import Store
from gnomon.testing.contracts import StoreContract
from gnomon_postgres.store import PostgresStore

PATIENCE = timedelta(seconds=30)
"""What the contract asks for in one call takes a second or more where the machine is busy."""


class TestPostgresStore(StoreContract):
    schema = "gnomon"

    @pytest.fixture
    def address(self, dsn: str) -> str:
        return dsn

    @pytest.fixture
    async def store(self, address: str, tmp_path: Path) -> AsyncIterator[Store]:
        self._dsn, self._spool = address, tmp_path / "spool.db"
        async with self._new() as store:
            yield store

    def another(self, store: Store) -> Store:
        return self._new()

    def _new(self) -> PostgresStore:
        return PostgresStore(self._dsn, self.schema, spool=self._spool, timeout=PATIENCE, lease=2 * PATIENCE)


class TestPostgresStoreThroughPgBouncer(TestPostgresStore):
    schema = 'a schema; with an "odd" name, 100 %s'

    @pytest.fixture
    def address(self, pooled_dsn: str) -> str:
        return pooled_dsn
