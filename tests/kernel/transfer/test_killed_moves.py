"""Exports and imports that are killed at any moment: the next one goes on, and nothing is lost or doubled."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from gnomon import Event
from gnomon.domain.events import Progress
from gnomon.domain.records import LogLine
from gnomon.stores.log_identity import identify_log
from gnomon.testing.histories import NOON, SECOND, append, extend, job_added, running, succeeded
from gnomon.transfer.exporter import export_log
from gnomon.transfer.importer import import_log
from gnomon_sqlite import SqliteStore
from moved_logs import assert_same, everything_in

MOVE = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from gnomon.transfer.exporter import export_log
from gnomon.transfer.importer import import_log
from gnomon_sqlite import SqliteStore

what, store, path = sys.argv[1], SqliteStore(sys.argv[2]), Path(sys.argv[3])
say = lambda done, total: print(done, flush=True)
if what == "export":
    asyncio.run(export_log(store, path, is_final=True, audit_span=timedelta(days=1), show=say))
else:
    report = asyncio.run(import_log(store, path, show=say))
    assert report.problems == [], report
"""
ROUNDS = 4


async def write_long_log(store: SqliteStore) -> None:
    await identify_log(store)
    await append(store, job_added("sync"), job_added("going"))
    for start in range(0, 3_000, 250):
        runs = [succeeded("sync", NOON + n * SECOND) for n in range(start, start + 250)]
        going = running("going", NOON + start * SECOND)
        reported: list[Event] = extend(going, Progress, percent=start / 50)
        await append(store, *runs, reported)
        await store.append_log(going[0].stream, [LogLine(1, NOON, "info", "still going")])
    await store.prune(NOON + timedelta(seconds=600))


def move_and_kill(what: str, store: Path, path: Path, after: int) -> bool:
    """Kill an export or import once it has shown its progress some times; return whether it has ended before that."""
    command = [sys.executable, "-c", MOVE, what, str(store), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(after):
            if not process.stdout.readline():
                assert process.wait() == 0
                return True
        process.kill()
    return process.returncode == 0


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
async def test_moves_that_are_killed_go_on_and_double_nothing(tmp_path: Path, suffix: str) -> None:
    source, target, path = tmp_path / "source.db", tmp_path / "target.db", tmp_path / f"log{suffix}"
    random = Random(suffix)
    async with SqliteStore(source) as store:
        await write_long_log(store)
        expected = await everything_in(store)

    for what, moved in (("export", source), ("import", target)):
        ended = [move_and_kill(what, moved, path, random.randrange(1, 5)) for _ in range(ROUNDS)]
        assert not all(ended)
    await export_log(SqliteStore(source), path, is_final=True, audit_span=timedelta(days=1))
    imported = await import_log(SqliteStore(target), path)

    assert (imported.problems, imported.is_complete) == ([], True)
    async with SqliteStore(target) as store:
        assert_same(await everything_in(store), expected)
