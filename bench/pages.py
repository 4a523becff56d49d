"""The store's lists over many executions: the first page, and page 2,000 by cursor.

python bench/pages.py [--executions 1000000]
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from gnomon import execution
from gnomon.cursors import Cursor, write_cursor
from gnomon.execution import Execution
from gnomon.ports import ExecutionQuery
from gnomon_sqlite import SqliteStore
from measure import arguments, quartiles, report

DEEP = 2_000
TIMES = 31
BATCH = 5_000
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


async def fill(store: SqliteStore, count: int) -> None:
    """Write that many executions of 1,000 jobs, one each second, one of 50 failed."""
    for start in range(0, count, BATCH):
        await store.append([], [made(number) for number in range(start, min(start + BATCH, count))], [])


def made(number: int) -> Execution:
    """Make an execution that is over."""
    at, job_id = BEGUN + timedelta(seconds=number), f"job-{number % 1_000}"
    return Execution(
        id=execution.execution_id(job_id, at),
        job_id=job_id,
        status="success" if number % 50 else "failed",
        version=3,
        scheduled_time=at,
        timestamp=at,
        updated_at=at,
        node="bench",
        runner="async",
        execution_time=0.001,
    )


async def time_of(store: SqliteStore, query: ExecutionQuery) -> float:
    """Ask once; milliseconds."""
    before = time.perf_counter()
    await store.executions(query)
    return (time.perf_counter() - before) * 1e3


async def measure(count: int) -> None:
    """Fill a log, ask in turn for both pages, print."""
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteStore(Path(folder) / "pages.db", synchronous="NORMAL") as store:
            await fill(store, count)
            first = ExecutionQuery(limit=50)
            skip = min(DEEP * 50, count // 2)
            (last,) = (await store.executions(ExecutionQuery(limit=1, offset=skip))).items
            deep = msgspec.structs.replace(first, cursor=write_cursor(Cursor(last.timestamp, last.id)))
            pairs = [(await time_of(store, first), await time_of(store, deep)) for _ in range(TIMES)]
            total = (await store.executions(first)).total
    ratio = quartiles([pair[1] / pair[0] for pair in pairs])
    page_1, page_deep = (quartiles([pair[side] for pair in pairs]) for side in (0, 1))
    report(
        f"pages of {count} executions",
        f"Of {total:,} executions page {skip // 50:,} by cursor takes {ratio['median']} times as long as the first one "
        f"({page_deep['median']} ms against {page_1['median']} ms).",
        ratio_deep_to_first=ratio,
        first_ms=page_1,
        deep_ms=page_deep,
    )


def main() -> None:
    """Measure and print."""
    asyncio.run(measure(arguments("Pages.", executions=1_000_000).executions))


if __name__ == "__main__":
    main()
