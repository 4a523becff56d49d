"""Kernels that are killed with SIGKILL: nothing accepted is lost, nothing runs for ever, no fire has two outcomes."""

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from structlog.testing import capture_logs

from gnomon import Event, Job, Kernel, hookimpl
from gnomon.plugins.plugin_set import PluginSet
from gnomon.testing import check_store
from gnomon_sqlite import SqliteStore

LIFE = """
import asyncio, sys, time
from datetime import timedelta
from gnomon import Job, Kernel, hookimpl
from gnomon.plugins.plugin_set import PluginSet
from gnomon_sqlite import SqliteStore

class Notes:
    durable = True

    @hookimpl
    def on_event(self, event):
        with open(sys.argv[2], "a") as notes:
            notes.write(f"{event.position}\\n")

async def slow():
    await asyncio.sleep(0.05)

def in_a_thread():
    time.sleep(0.02)

async def main():
    plugins = PluginSet()
    plugins.add(Notes())
    every = timedelta(milliseconds=20)
    jobs = [
        Job(id="slow", func=slow, every=every, overlap="allow"),
        Job(id="thread", func=in_a_thread, every=every, catch_up="all"),
        Job(id="manual", func=slow),
    ]
    async with Kernel(store=SqliteStore(sys.argv[1]), jobs=jobs, plugins=plugins) as kernel:
        while True:
            triggered = await kernel.trigger("manual")
            print("accepted", triggered.execution.id, flush=True)  # from here on it must never be lost

asyncio.run(main())
"""


class Notes:
    durable = True

    def __init__(self, file: Path) -> None:
        self.file = file

    @hookimpl
    def on_event(self, event: Event) -> None:
        with self.file.open("a") as notes:
            notes.write(f"{event.position}\n")


def live_and_die(database: Path, notes: Path, acknowledged: list[str]) -> None:
    """Run a kernel in a process, kill it in the middle of its work, and keep what it had acknowledged."""
    before = notes.stat().st_size if notes.exists() else 0
    arguments = [sys.executable, "-c", LIFE, str(database), str(notes)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as life:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not (notes.exists() and notes.stat().st_size > before + 1000):
                assert life.poll() is None, "the kernel ended by itself"
                time.sleep(0.01)
        finally:
            life.kill()
        assert life.stdout is not None
        lines = life.stdout.read().split("\n")[:-1]
        acknowledged += [line.split()[1] for line in lines if line.startswith("accepted ")]


async def test_a_killed_kernel_loses_nothing_and_a_durable_plugin_sees_everything(tmp_path: Path) -> None:
    database, notes, acknowledged = tmp_path / "gnomon.db", tmp_path / "notes", list[str]()
    for _ in range(3):
        await asyncio.to_thread(live_and_die, database, notes, acknowledged)

    plugins = PluginSet()
    plugins.add(Notes(notes))

    async def quick() -> None: ...

    jobs = [Job(id="manual", func=quick), Job(id="slow", func=quick), Job(id="thread", func=quick)]
    store = SqliteStore(database)
    with capture_logs():
        async with Kernel(store=store, jobs=jobs, plugins=plugins) as kernel:
            for identity in acknowledged:
                assert (await kernel.wait(identity)).is_over
            async with asyncio.timeout(60):
                while not kernel.is_idle or kernel.health().running or kernel.health().waiting:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            log = await check_store(store)

    assert log[-1].at <= datetime.now(UTC)
    assert len(acknowledged) > 3
    seen = [int(line) for line in notes.read_text().split()]
    assert set(seen) >= set(range(1, len(log) + 1))
    again = [after for before, after in pairwise(seen) if after <= before]
    assert len(again) <= 3, "it goes on once for each life, and in order in each of them"
