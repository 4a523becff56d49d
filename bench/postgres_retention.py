"""Drop a month of a log in PostgreSQL, and time the appends meanwhile.

python bench/postgres_retention.py [--events 10000000] [--days 30] [--cached 1] [--folder PATH]

A day of events is appended, with views. The other days are copies of it that the server makes, in partitions of their
own: nothing reads them, and the tables have the size of a real month. They are written to the disk, and leave the
memory, as days that nobody has read for long do: to free the memory of a file takes the system longer than anything
else here (--cached keeps them in it). Then `prune` deletes all of them while a run is appended every few milliseconds.
The goal is a second for all partitions, and no append that waits for them noticeably.

A file system that is mounted with `discard` frees blocks only as fast as its device discards them. The report says
whether it is; --folder measures on another one.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import runs
from gnomon.stores.commit_rows import checksum_of
from gnomon_postgres.log import event_reads
from gnomon_postgres.schema import partitions
from gnomon_postgres.server import Connection, Server
from gnomon_postgres.store import PostgresStore
from lists import JOBS
from measure import arguments, report

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LIMIT_S = 600.0
BASELINE = 300
"""Appends that are timed before, for comparison."""
PAUSE_S = 0.005
_COPIES = (
    """INSERT INTO {{schema}}.commits SELECT first + {offset}, last + {offset}, earliest + {micros}, latest + {micros},
        setback, previous, events, checksum, identity FROM {{schema}}.commits_1""",
    """INSERT INTO {{schema}}.ended SELECT substr(md5(id || {offset}), 1, 24), version, last + {offset},
        began + {offset}, job_id, status, is_manual, hidden, timestamp + interval '{days} days',
        ended_at + interval '{days} days', error_text, labels, late, duration, actor, progress, body,
        final + {offset}, false FROM {{schema}}.ended_1""",
    """INSERT INTO {{schema}}.counts SELECT 1 + {offset}, job_id, status, is_manual, hidden, n
        FROM {{schema}}.counts WHERE part = 1""",
    """UPDATE {{schema}}.partitions AS copy SET oldest = day.oldest + interval '{days} days',
        newest = day.newest + interval '{days} days', latest_end = day.latest_end + interval '{days} days'
        FROM {{schema}}.partitions AS day WHERE copy.first = 1 + {offset} AND day.first = 1""",
)


def opened(dsn: str, folder: str) -> PostgresStore:
    """Return a store of the log."""
    limit = timedelta(seconds=LIMIT_S)
    return PostgresStore(dsn, spool=Path(folder) / "spool.db", timeout=limit, lease=2 * limit)


async def fill(dsn: str, folder: str, events: int, days: int) -> int:
    """Append a day, and copy it; return the number of runs."""
    a_day = events // days
    partitions.SMALLEST = partitions.LARGEST = a_day + 1_000
    count = a_day // 3
    async with opened(dsn, folder) as store:
        await runs.append(store, runs.runs(count, JOBS, START, DAY / count))
        await store.jobs()  # once all views are filed
    server = Server(dsn, "gnomon", LIMIT_S)
    await server.connect()
    async with server.writing(LIMIT_S) as connection:
        for number in range(1, days):
            offset = number * partitions.SMALLEST
            async with connection.transaction():
                await partitions.ensure(connection, 1 + offset)
            for statement in _COPIES:
                values = {"offset": offset, "micros": number * DAY // timedelta(microseconds=1), "days": number}
                await connection.execute(statement.format(**values))
        await connection.execute("UPDATE {schema}.counts SET n = n * %s WHERE part = -1", (days,))
        await _seal_newest(connection)
        await connection.execute("UPDATE {schema}.log SET filed = (SELECT max(last) FROM {schema}.commits)")
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
    await server.close()
    return count * days


async def _seal_newest(connection: Connection) -> None:
    """Write the checksum of the newest row: it is the only copy that a start reads."""
    sql = f"SELECT {event_reads.COLUMNS} FROM {{schema}}.commits ORDER BY first DESC LIMIT 1"  # noqa: S608
    ((*place, links, events, _),) = await connection.fetch(sql)
    first, last, earliest, latest, setback = place
    checksum = checksum_of((first, last, earliest, latest, setback), links, events)
    await connection.execute("UPDATE {schema}.commits SET checksum = %s WHERE first = %s", (checksum, first))


def leave_memory(folder: Path) -> None:
    """Drop the pages of all files from the memory of the system; they have been written before."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def discards(folder: Path) -> bool:
    """Return whether the file system of a folder tells its device of freed blocks at once."""
    if not Path("/proc/self/mounts").exists():
        return False
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    above = [mount for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    return "discard" in max(above, key=lambda mount: len(mount[1]))[3].split(",")


async def append_runs(store: PostgresStore, begin: datetime, ended: asyncio.Event, most: int) -> list[float]:
    """Append one run after the other, until `ended`; return how long each took, in ms."""
    times: list[float] = []
    for run in runs.runs(most, ["beside"], begin, timedelta(seconds=1)):
        if ended.is_set():
            break
        begun = time.perf_counter()
        await runs.append(store, iter([run]))
        times.append((time.perf_counter() - begun) * 1_000)
        await asyncio.sleep(PAUSE_S)
    return times


async def measure(dsn: str, folder: str, days: int, count: int) -> tuple[float, list[float], list[float]]:
    """Delete the days; return the seconds, and the times of appends before and meanwhile, in ms."""
    async with opened(dsn, f"{folder}/later") as store:
        await store.restore([], [], [], days * partitions.SMALLEST + 1)  # go on in the next partition
        later = START + (days + 2) * DAY
        before = await append_runs(store, later, asyncio.Event(), BASELINE)
        ended = asyncio.Event()
        beside = asyncio.ensure_future(append_runs(store, later + DAY, ended, sys.maxsize))
        begun = time.perf_counter()
        pruned = await store.prune(START + (days + 1) * DAY)
        spent = time.perf_counter() - begun
        ended.set()
        if pruned != count:
            sys.exit(f"{pruned} runs were deleted, not {count}")
        return spent, before, await beside


def spread(times: list[float]) -> dict[str, Any]:
    """Return the median, the 99th percentile and the longest of some times."""
    ordered = sorted(times)
    points = {"p50": len(ordered) // 2, "p99": len(ordered) * 99 // 100, "max": len(ordered) - 1}
    return {name: round(ordered[place], 1) for name, place in points.items()}


def main() -> None:
    """Start a server, fill a log, measure and report."""
    from postgres_servers import running_postgres  # noqa: PLC0415 - of the tests, as above

    asked = arguments("Retention in PostgreSQL.", events=10_000_000, days=30, cached=0, folder="")
    with running_postgres(
        "-c", "fsync=on", "-c", "shared_buffers=128MB", "-c", "max_wal_size=4GB", parent=asked.folder
    ) as server:
        is_discarding = discards(server.folder)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "later").mkdir()  # another spool, which knows nothing of the newest event
            count = asyncio.run(fill(server.dsn(), folder, asked.events, asked.days))
            if not asked.cached:
                leave_memory(server.folder)
            spent, before, beside = asyncio.run(measure(server.dsn(), folder, asked.days, count))
    usual, meanwhile = spread(before), spread(beside)
    report(
        "Retention in PostgreSQL",
        f"{count:,} runs in {asked.days} partitions are deleted in {spent:.2f} s; an append takes {usual['p50']} ms "
        f"before (p99 {usual['p99']}), and meanwhile {meanwhile['p50']} ms (p99 {meanwhile['p99']}, at most "
        f"{meanwhile['max']}). The file system {'discards' if is_discarding else 'does not discard'} freed blocks.",
        seconds=round(spent, 3),
        discards=is_discarding,
        before_ms=usual,
        meanwhile_ms=meanwhile,
    )


if __name__ == "__main__":
    main()
