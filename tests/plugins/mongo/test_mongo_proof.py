"""The statistics plugin's proof, with the server's aggregation as a second witness."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gnomon.testing.histories import NOON, SECOND, append, every_type, failed, missed, running, succeeded
from gnomon_mongo import MongoStore, schema
from gnomon_stats.checkpoint import CHECKPOINT, to_checkpoint
from gnomon_stats.fold import Statistics, fold
from gnomon_stats.verification import verify

DAY = timedelta(days=1)


async def counted(store: MongoStore) -> None:
    """Write a log, and keep statistics of its beginning."""
    log = await append(
        store,
        *every_type(),
        *(succeeded("sync", NOON + n * SECOND) for n in range(20)),
        failed("sync", NOON + DAY),
        missed("report", NOON, count=5),
        missed("report", NOON + DAY),
        running("report", NOON + 2 * DAY),
    )
    statistics = Statistics()
    fold(statistics, log[:40])
    await store.save_checkpoint(CHECKPOINT, to_checkpoint(statistics))


async def test_the_server_counts_what_the_log_says_and_what_was_kept(store: MongoStore) -> None:
    await counted(store)

    found = await verify(store, "UTC")

    assert (found.store, found.is_proved) == ("equal", True)


async def test_the_server_counts_what_retention_has_left(store: MongoStore) -> None:
    await counted(store)
    statistics = Statistics()
    fold(statistics, await store.read(limit=1000))
    await store.save_checkpoint(CHECKPOINT, to_checkpoint(statistics))
    await store.prune(NOON + DAY)

    found = await verify(store, "UTC")

    assert (found.store, found.is_proved) == ("equal", True)
    assert found.executions == sum(job.total.total + len(job.open) for job in statistics.jobs.values())
    assert found.whole_after > 0


async def test_an_execution_that_the_server_has_otherwise_is_found(store: MongoStore, database: Any) -> None:
    await counted(store)
    await database[schema.EXECUTIONS].update_one(
        {"job_id": "sync", "status": "failed"}, {"$set": {"status": "success"}}
    )

    found = await verify(store, "UTC")

    assert found.store == "different"
    assert any("sync, executions as the store counts them" in str(one) for one in found.differences)
