"""Pages of lists are read without the long values of their executions, and large events are flushed early."""

import asyncio
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from gnomon.domain.brief import brief
from gnomon.domain.events import Event, Scheduled, Started, Succeeded
from gnomon.domain.execution import Execution, execution_id, fold
from gnomon.domain.records import ExecutionQuery
from gnomon.testing.histories import NOON, SECOND
from gnomon_sqlite import SqliteStore
from gnomon_sqlite.views.projection_writer import FLUSH_BYTES

RUNS = 40
VALUES = [[n, {"row": n}] for n in range(6_000)]


def run(number: int) -> list[Event]:
    at, job = NOON + number * SECOND, "large"
    common: dict[str, Any] = {"stream": execution_id(job, at), "at": at, "node": "here", "job_id": job}
    first = number * 3
    return [
        Scheduled(position=first + 1, version=1, scheduled_time=at, kwargs={"n": number, "all": VALUES}, **common),
        Started(position=first + 2, version=2, runner="async", **common),
        Succeeded(position=first + 3, version=3, execution_time=1.0, return_value="r" * 5000, **common),
    ]


async def write(store: SqliteStore, count: int = RUNS) -> list[Execution]:
    views = []
    for number in range(count):
        events = run(number)
        views.append(fold(events))
        await store.append(events, [views[-1]], [])
    return views[::-1]


@pytest.mark.parametrize("threshold", [1, 10**9])
async def test_a_brief_page_has_what_brief_leaves_of_each(tmp_path: Path, threshold: int) -> None:
    store = SqliteStore(tmp_path / "gnomon.db")
    store.flush_threshold = threshold
    async with store:
        views = await write(store)
        page = await store.executions(ExecutionQuery(limit=30, brief=True))
        rest = await store.executions(ExecutionQuery(limit=30, brief=True, cursor=page.next))
        whole = await store.executions(ExecutionQuery(limit=3))

    assert [*page.items, *rest.items] == [brief(view) for view in views]
    assert (page.total, rest.next) == (RUNS, None)
    assert whole.items == views[:3]


async def test_a_brief_page_does_not_build_the_long_values(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "gnomon.db") as store:
        await write(store)
    async with SqliteStore(tmp_path / "gnomon.db") as store:
        tracemalloc.start()
        try:
            await store.executions(ExecutionQuery(limit=200, brief=True))
            _, brief_peak = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            await store.executions(ExecutionQuery(limit=200))
            _, whole_peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert brief_peak < whole_peak / 10


async def test_readers_keep_no_more_than_a_few_megabytes_of_unflushed_events(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "gnomon.db") as store:
        await write(store)
        await store.append([], [], [])  # behind the flush, which the writer's thread does first

        assert RUNS * len(str(VALUES)) > FLUSH_BYTES
        assert store._pending.bytes < FLUSH_BYTES


async def test_short_reads_do_not_wait_for_lists(tmp_path: Path) -> None:
    may_end = threading.Event()
    async with SqliteStore(tmp_path / "gnomon.db") as store:
        await write(store, 1)
        scans = [asyncio.ensure_future(store._list(lambda _: may_end.wait(60))) for _ in range(20)]
        try:
            short = await store.head(), await store.read(0, 1), await store.checkpoint("none")
            assert not any(scan.done() for scan in scans)
        finally:
            may_end.set()
            await asyncio.gather(*scans)

    assert short[0] == 3
