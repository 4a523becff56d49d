"""The proof of the views finds what differs from the log, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from gnomon.domain import events
from gnomon.testing.histories import NOON, SECOND, append, every_type, extend, failed, running, succeeded
from gnomon_postgres import PostgresStore
from gnomon_postgres.views import view_proof


@pytest.fixture(autouse=True)
def pages_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_proof, "PAGE", 3)


@pytest.fixture
async def store(dsn: str, tmp_path: Path) -> AsyncIterator[PostgresStore]:
    async with PostgresStore(dsn, spool=tmp_path / "spool.db") as store:
        yield store


async def test_views_that_follow_from_the_log_are_proved(store: PostgresStore) -> None:
    ended = failed("sync", NOON)
    late = extend(ended, events.Hidden)[len(ended) :]
    await append(store, *every_type(), ended, succeeded("sync", NOON + SECOND), running("report"))
    await append(store, late)  # long after its end, in another page

    assert await store.differences() == []
    assert await store.without_events() == []


async def test_runs_whose_progress_was_deleted_are_not_judged(store: PostgresStore) -> None:
    progress = extend(running("sync", NOON), events.Progress, percent=50.0)
    await append(store, extend(progress, events.Succeeded, execution_time=1.0), succeeded("sync", NOON + SECOND))

    assert await store.prune_progress(NOON + timedelta(days=1)) > 0

    assert await store.differences() == []
    assert await store.without_events() == []


async def test_a_view_without_events_or_without_its_row_is_found(store: PostgresStore, dsn: str) -> None:
    batch = await append(store, succeeded("sync", NOON), running("report", NOON), succeeded("other", NOON))
    ended, active, other = dict.fromkeys(event.stream for event in batch)
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE gnomon.ended SET id = %s WHERE id = %s", ("f" * 24, ended))
        connection.execute("DELETE FROM gnomon.live WHERE id = %s", (active,))

    assert await store.differences() == [ended, active]
    assert await store.without_events() == ["f" * 24]
    assert other
