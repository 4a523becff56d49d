"""Exports and imports in processes that are killed: `python killed_moves.py export|import PLACE FILE SPOOL`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from random import Random

from gnomon import Event, Store
from gnomon.domain.events import Progress
from gnomon.domain.records import LogLine
from gnomon.stores.log_identity import identify_log
from gnomon.testing.histories import NOON, SECOND, append, extend, job_added, running, succeeded
from gnomon.transfer.exporter import export_log
from gnomon.transfer.importer import import_log
from gnomon_sqlite import SqliteStore
from log_places import store_of
from moved_logs import SPAN, assert_same, everything_in

ROUNDS = 3


async def write_long_log(store: Store) -> None:
    """Write a log of several thousand events, a fifth of which is pruned."""
    await identify_log(store)
    await append(store, job_added("sync"), job_added("going"))
    for start in range(0, 1_500, 125):
        runs = [succeeded("sync", NOON + n * SECOND) for n in range(start, start + 125)]
        going = running("going", NOON + start * SECOND)
        reported: list[Event] = extend(going, Progress, percent=start / 50)
        await append(store, *runs, reported)
        await store.append_log(going[0].stream, [LogLine(1, NOON, "info", "still going")])
    await store.prune(NOON + timedelta(seconds=300))


def move_and_kill(what: str, place: str, path: Path, spool: Path, after: int) -> bool:
    """Kill an export or import once it has shown its progress some times; return whether it has ended before that."""
    command = [sys.executable, __file__, what, place, str(path), str(spool)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(after):
            if not process.stdout.readline():
                assert process.wait() == 0
                return True
        process.kill()
    return process.returncode == 0


async def move_with_kills(place: str, path: Path, folder: Path) -> None:
    """Move a log from SQLite to a place, while the processes that do it are killed; compare both."""
    source, spool, random = folder / "source.db", folder / "spool.db", Random(path.suffix)
    async with SqliteStore(source) as store:
        await write_long_log(store)
        expected = await everything_in(store)

    for what, moved in (("export", str(source)), ("import", place)):
        ended = [move_and_kill(what, moved, path, spool, random.randrange(1, 3)) for _ in range(ROUNDS)]
        assert not all(ended)
    await export_log(SqliteStore(source), path, is_final=True, audit_span=SPAN)
    target = store_of(place, spool)
    imported = await import_log(target, path)

    assert (imported.problems, imported.is_complete) == ([], True)
    async with target:
        assert_same(await everything_in(target), expected)


async def move(what: str, store: Store, path: Path) -> None:
    """Export or import, and print each time that the progress is shown."""

    def show(done: int, _total: int) -> None:
        print(done, flush=True)

    if what == "export":
        await export_log(store, path, is_final=True, audit_span=SPAN, show=show)
    else:
        report = await import_log(store, path, show=show)
        assert not report.problems, report


if __name__ == "__main__":
    what, place, file, spool = sys.argv[1:]
    asyncio.run(move(what, store_of(place, Path(spool)), Path(file)))
