"""The log as it was, from a file: the same answers as of a log that ends there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from gnomon import Duration, ExecutionQuery, Job
from gnomon.testing import VirtualClock, make_kernel
from gnomon.testing.clock import START
from gnomon_sqlite.store import SqliteStore

HOUR = timedelta(hours=1)


async def tick() -> int:
    return 1


async def test_the_past_is_read_from_the_file_by_those_who_lead_and_those_who_follow(tmp_path: Path) -> None:
    clock = VirtualClock()
    job = Job(id="tick", func=tick, every=Duration(minutes=10))
    store = SqliteStore(tmp_path / "log.db")
    async with make_kernel(job, clock=clock, store=store) as kernel:
        await clock.advance(5 * HOUR)
        past = await kernel.at(START + 2 * HOUR)
        runs = await past.executions(ExecutionQuery(limit=3))
        following = make_kernel(job, clock=clock, store=SqliteStore(tmp_path / "log.db"), role="follower")
        async with following as follower:
            same = await follower.at(START + 2 * HOUR)
            assert (await same.executions(ExecutionQuery(limit=3))) == runs
            assert same.health().position == past.health().position

    assert runs.total == 12
    assert [run.scheduled_time for run in runs.items] == [START + 2 * HOUR - n * HOUR / 6 for n in range(3)]
