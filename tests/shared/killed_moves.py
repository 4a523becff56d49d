"""Exports and imports in processes that are killed: `python killed_moves.py export|import PLACE FILE SPOOL`."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Literal

from gnomon import Event, Store
from gnomon.domain.events import Progress
from gnomon.domain.records import LogLine
from gnomon.stores.log_identity import identify_log
from gnomon.testing.histories import NOON, SECOND, append, extend, job_added, running, succeeded
from gnomon.transfer.exporter import export_log
from gnomon.transfer.importer import import_log
from gnomon_sqlite import SqliteStore
from log_places import LogServer, store_of
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


Victim = Literal["process", "server", "both"]


def move_and_kill(
    what: str,
    place: str,
    path: Path,
    spool: Path,
    after: int,
    victim: Victim = "process",
    server: LogServer | None = None,
) -> bool:
    """Kill an export or import, or its server, once it has shown its progress some times.

    Return whether it has ended before that. The server runs again afterwards.
    """
    command = [sys.executable, __file__, what, place, str(path), str(spool)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(after):
            if not process.stdout.readline():
                assert process.wait() == 0, process.stderr.read()
                return True
        if server is not None and victim != "process":
            server.kill()
        if victim != "server":
            process.kill()
        said = process.communicate()[1]
    if server is not None and victim != "process":
        server.start()
    assert process.returncode in {0, -signal.SIGKILL} or "again, which goes on where this import has come" in said, said
    return process.returncode == 0


async def move_with_kills(place: str, path: Path, folder: Path, server: LogServer | None = None) -> None:
    """Move a log from SQLite to a place, while the processes that do it, and its server, are killed; compare both."""
    source, spool, random = folder / "source.db", folder / "spool.db", Random(path.suffix)
    async with SqliteStore(source) as store:
        await write_long_log(store)
        expected = await everything_in(store)

    exports = [move_and_kill("export", str(source), path, spool, random.randrange(1, 3)) for _ in range(ROUNDS)]
    victims: list[Victim] = ["process", "process", "process"] if server is None else ["process", "server", "both"]
    imports = [move_and_kill("import", place, path, spool, random.randrange(1, 3), one, server) for one in victims]
    assert not all(exports)
    assert not all(imports)
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
