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

from gnomon.domain.records import ExecutionQuery
from gnomon.stores.page_cursor import Cursor, write_cursor
from gnomon_sqlite import SqliteStore
from measure import arguments, quartiles, report
from runs import fill, runs

DEEP = 2_000
TIMES = 31
JOBS = [f"job-{number}" for number in range(1_000)]
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


async def time_of(store: SqliteStore, query: ExecutionQuery) -> float:
    """Return the milliseconds of one query."""
    before = time.perf_counter()
    await store.executions(query)
    return (time.perf_counter() - before) * 1e3


async def measure(count: int) -> None:
    """Fill a log, query both pages alternately, and print the results."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pages.db"
        fill(path, runs(count, JOBS, BEGUN, timedelta(seconds=1)))
        async with SqliteStore(path, synchronous="NORMAL") as store:
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
        f"With {total:,} executions, page {skip // 50:,} by cursor takes {ratio['median']} times as long as the first "
        f"page ({page_deep['median']} ms against {page_1['median']} ms).",
        ratio_deep_to_first=ratio,
        first_ms=page_1,
        deep_ms=page_deep,
    )


def main() -> None:
    """Measure and print the results."""
    asyncio.run(measure(arguments("Pages.", executions=1_000_000).executions))


if __name__ == "__main__":
    main()
