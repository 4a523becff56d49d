"""A kernel that is stopped between two statements of a transaction: the server ends it, and the kernel tries again.

The server ends a transaction that is idle for longer than `timeout`, because its locks would keep others from leading.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from append_writer import AppendWriter
from gnomon.testing.log_checks import check_store
from gnomon_postgres import PostgresStore
from servers import eventually

WAITING = """SELECT pid FROM pg_locks WHERE relation = 'gnomon.live'::regclass AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
SESSION = "SELECT state FROM pg_stat_activity WHERE pid = %s"


@pytest.fixture
def writer(dsn: str, tmp_path: Path) -> Iterator[AppendWriter]:
    """Provide a kernel that writes and renews no lease meanwhile."""
    writer = AppendWriter(dsn, tmp_path / "spool.db", "psycopg", lease_s=600)
    yield writer
    writer.close()


async def test_views_are_filed_again_whose_transaction_was_ended_while_the_kernel_was_stopped(
    dsn: str, writer: AppendWriter, tmp_path: Path
) -> None:
    writer.expect(3)
    with psycopg.connect(dsn, autocommit=True) as look:
        session = await stop_in_transaction(dsn, look, writer)
        await eventually(lambda: one(look, SESSION, session) is None)  # by the server: the process does nothing

        filed = one(look, "SELECT filed FROM gnomon.log")
        writer.go_on()
        writer.expect(1)
        await eventually(lambda: one(look, "SELECT filed FROM gnomon.log") > filed)

    acknowledged = writer.kill()
    async with PostgresStore(dsn, spool=tmp_path / "spool.db") as store:
        log = await check_store(store)
    assert len(log) >= acknowledged


async def stop_in_transaction(dsn: str, look: psycopg.Connection[Any], writer: AppendWriter) -> int:
    """Stop the kernel while it files views, after a statement and before the next one; return its session."""
    with psycopg.connect(dsn) as lock:
        while True:
            lock.execute("LOCK TABLE gnomon.live IN SHARE MODE")
            await eventually(lambda: one(look, WAITING) is not None)
            writer.stop()
            if (session := one(look, WAITING)) is not None:
                break
            writer.go_on()  # it had given up meanwhile, and tries again
        lock.rollback()
    await eventually(lambda: one(look, SESSION, session) in {"idle in transaction", None})
    assert isinstance(session, int)
    return session


def one(connection: psycopg.Connection[Any], statement: str, *parameters: object) -> Any:
    """Return the first value of the first row, None without a row."""
    found = connection.execute(statement, parameters).fetchone()
    return found[0] if found is not None else None
