"""A log that is moved from SQLite to PostgreSQL and back."""

from __future__ import annotations

from pathlib import Path

from gnomon_postgres.store import PostgresStore
from killed_moves import move_with_kills
from moved_logs import move_there_and_back


async def test_a_log_that_moves_to_postgresql_and_back_is_the_same(dsn: str, tmp_path: Path) -> None:
    await move_there_and_back(PostgresStore(dsn, spool=tmp_path / "spool.db"), tmp_path)


async def test_moves_to_postgresql_that_are_killed_go_on_and_double_nothing(dsn: str, tmp_path: Path) -> None:
    await move_with_kills(dsn, tmp_path / "log.jsonl", tmp_path)
