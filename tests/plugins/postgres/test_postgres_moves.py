"""A log that is moved from SQLite to PostgreSQL and back."""

from __future__ import annotations

from pathlib import Path

from gnomon_postgres.store import PostgresStore
from moved_logs import move_there_and_back


async def test_a_log_that_moves_to_postgresql_and_back_is_the_same(dsn: str, tmp_path: Path) -> None:
    await move_there_and_back(PostgresStore(dsn, spool=tmp_path / "spool.db"), tmp_path)
