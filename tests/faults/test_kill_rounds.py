"""SIGKILL at any moment, again and again, with a checker that knows nothing of Gnomon's own folds."""

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fault_runs import rounds
from gnomon import Duration, Event, Job, Kernel, hookimpl
from gnomon.plugins.plugin_set import PluginSet
from gnomon.testing import check_store
from gnomon_sqlite import SqliteStore
from log_checker import check_interval, check_log

EVERY = Duration(milliseconds=20)
LIFE = """
import asyncio, sys, time
from datetime import timedelta

from gnomon import Job, Kernel, current, hookimpl
from gnomon.plugins.plugin_set import PluginSet
from gnomon_sqlite import SqliteStore

database, notes, bodies = sys.argv[1:]

def note(path, text):
    with open(path, "a") as file:
        file.write(f"{text}\\n")

class Notes:
    durable = True

    @hookimpl
    def on_event(self, event):
        note(notes, event.position)

async def slow():
    note(bodies, current().execution_id)
    await asyncio.sleep(0.05)

def in_a_thread():
    note(bodies, current().execution_id)
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
    async with Kernel(store=SqliteStore(database), jobs=jobs, plugins=plugins) as kernel:
        while True:
            triggered = await kernel.trigger("manual", when_full="wait")
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


def live_and_die(folder: Path, chance: random.Random) -> set[str]:
    """Run a kernel in a process and kill it in the middle of its work; return the runs that it had acknowledged."""
    notes = folder / "notes"
    before = notes.stat().st_size if notes.exists() else 0
    files = [str(folder / name) for name in ("gnomon.db", "notes", "bodies")]
    errors = folder / "errors"
    with (
        errors.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", LIFE, *files], stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as life,
    ):
        try:
            if chance.random() < 0.2:  # while it starts, recovers and catches up
                time.sleep(chance.uniform(0.2, 1.5))
            else:
                grown = chance.randrange(1, 2_000)
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline and not (notes.exists() and notes.stat().st_size > before + grown):
                    assert life.poll() is None, f"the kernel ended on its own: {errors.read_text(encoding='utf-8')}"
                    time.sleep(0.005)
        finally:
            life.kill()
        assert life.stdout is not None
        lines = life.stdout.read().split("\n")[:-1]
        return {line.split()[1] for line in lines if line.startswith("accepted ")}


@pytest.mark.timeout(3600)
async def test_killed_kernels_lose_nothing_and_run_no_body_unrecorded(tmp_path: Path) -> None:
    chance, accepted, lives = random.Random(9), set[str](), rounds(short=3, long=150)
    for _ in range(lives):
        accepted |= await asyncio.to_thread(live_and_die, tmp_path, chance)

    await end_everything(tmp_path)

    events = check_log(tmp_path / "gnomon.db", accepted=accepted)
    assert check_interval(events, "slow", EVERY) + check_interval(events, "thread", EVERY) > 0
    bodies = Counter((tmp_path / "bodies").read_text().split())
    started = {event["stream"] for event in events if event["type"] == "started"}
    assert set(bodies) <= started, "a body ran without a durable `started`"
    assert max(bodies.values()) == 1, "a body ran twice"
    seen = [int(line) for line in (tmp_path / "notes").read_text().split()]
    assert set(seen) >= set(range(1, len(events) + 1))
    again = [after for before, after in pairwise(seen) if after <= before]
    assert len(again) <= lives, "it goes on once for each life, and in order in each of them"


async def end_everything(folder: Path) -> None:
    """Start a last kernel and let it end and record everything that the killed ones left."""
    plugins = PluginSet()
    plugins.add(Notes(folder / "notes"))

    async def quick() -> None: ...

    jobs = [
        Job(id="manual", func=quick),
        Job(id="slow", func=quick, every=EVERY, overlap="allow"),
        Job(id="thread", func=quick, every=EVERY),
    ]
    store = SqliteStore(folder / "gnomon.db")
    with capture_logs():
        async with Kernel(store=store, jobs=jobs, plugins=plugins) as kernel:
            for job in jobs:
                await kernel.pause(job.id)
            async with asyncio.timeout(60):
                while not kernel.is_idle or kernel.health().running or kernel.health().waiting:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await check_store(store)
