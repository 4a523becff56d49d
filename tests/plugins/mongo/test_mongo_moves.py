"""Logs that are moved from SQLite to MongoDB and back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random

from gnomon.stores.log_identity import identify_log
from gnomon.testing.histories import append
from gnomon.transfer.exporter import export_log
from gnomon.transfer.importer import import_log
from gnomon_mongo import MongoStore
from gnomon_sqlite import SqliteStore
from moved_logs import OLD, assert_same, everything_in, later, write_random_log

SPAN = timedelta(days=30)


async def test_a_log_that_moves_to_mongodb_and_back_is_the_same(
    make_store: Callable[..., MongoStore], tmp_path: Path
) -> None:
    random, first, second = Random(11), tmp_path / "first.jsonl", tmp_path / "second.jsonl.gz"
    source, server, back = SqliteStore(tmp_path / "source.db"), make_store(), SqliteStore(tmp_path / "back.db")
    async with source:
        await write_random_log(source, random)
        await source.prune(OLD)
    await export_log(source, first, is_final=False, audit_span=SPAN)
    assert (await import_log(server, first)).problems == []
    async with source:
        await append(source, later(random))
        expected = await everything_in(source)
    await export_log(source, first, is_final=True, audit_span=SPAN)

    moved = await import_log(server, first)

    assert (moved.problems, moved.is_complete) == ([], True)
    async with server:
        assert_same(await everything_in(server), expected)
        assert await server.differences() == []
        log_id = await identify_log(server)
        assert await server.prune_progress(OLD + timedelta(days=900)) > 0
        expected = await everything_in(server)
    await export_log(server, second, is_final=True, audit_span=SPAN)
    moved = await import_log(back, second)
    assert (moved.problems, moved.is_complete, moved.log_id) == ([], True, log_id)
    async with back:
        assert_same(await everything_in(back), expected)
