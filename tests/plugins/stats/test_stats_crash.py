"""Kernels that are killed with SIGKILL at random moments: the statistics lose nothing and count nothing twice."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from gnomon import Event
from gnomon.testing import make_job, make_kernel
from gnomon_sqlite import SqliteStore
from gnomon_stats import StatsPlugin
from gnomon_stats.verification import verify

LIFE = """
import asyncio, sys
from datetime import timedelta
from gnomon import Job, Kernel
from gnomon.durations import Duration
from gnomon.plugins.plugin_set import PluginSet
from gnomon_sqlite import SqliteStore
from gnomon_stats import StatsPlugin
from gnomon_stats.checkpoint import CHECKPOINT

async def quick():
    return 1

async def broken():
    raise ValueError("no such table")

async def slow():
    await asyncio.sleep(0.05)

async def main():
    plugins = PluginSet()
    plugins.add(StatsPlugin(StatsPlugin.Config(save_every=Duration(milliseconds=10))), "stats")
    jobs = [
        Job(id="quick", func=quick),
        Job(id="broken", func=broken),
        Job(id="slow", func=slow, every=timedelta(milliseconds=20), catch_up="all"),
    ]
    async with Kernel(store=SqliteStore(sys.argv[1]), jobs=jobs, plugins=plugins) as kernel:
        print("going", flush=True)
        kept = False
        while True:
            await kernel.trigger("quick", when_full="wait")
            await kernel.trigger("broken", when_full="wait")
            if not kept and await kernel.checkpoint(CHECKPOINT) is not None:
                print("kept", flush=True)
                kept = True

asyncio.run(main())
"""
LIVES = ("going", "going", "going", "kept")
"""What each kernel says before it dies: that it has begun, or that it has kept statistics as well."""


def live_and_die(database: Path, said: str, seconds: float) -> None:
    """Run a kernel in a process, and kill it in the middle of its work, that long after it has said something."""
    with subprocess.Popen([sys.executable, "-c", LIFE, str(database)], stdout=subprocess.PIPE) as life:
        try:
            assert life.stdout is not None
            assert f"{said}\n".encode() in iter(life.stdout.readline, b""), f"the kernel did not say {said!r}"
            time.sleep(seconds)
            assert life.poll() is None, "the kernel ended by itself"
        finally:
            life.kill()


async def test_statistics_of_killed_kernels_match_the_log(
    tmp_path: Path, facts: Callable[..., dict[str, Any]], recount: Callable[..., dict[str, Any]]
) -> None:
    database, order, kept_at = tmp_path / "gnomon.db", random.Random(), list[int]()
    for said in LIVES:
        await asyncio.to_thread(live_and_die, database, said, order.uniform(0.0, 0.5))
        store = SqliteStore(database)
        await store.open(read_only=True)
        found = await verify(store, "UTC")
        await store.close()
        assert found.differences == []
        kept_at.append(found.kept_at or 0)

    plugin = StatsPlugin()
    jobs = [make_job(print, id=name, overlap="allow") for name in ("quick", "broken", "slow")]
    with capture_logs():
        async with make_kernel(
            *jobs, plugins=[plugin], store=SqliteStore(database), keeps_time=True, drain=timedelta(seconds=20)
        ) as kernel:
            async with asyncio.timeout(60):
                while kernel.health().running or not kernel.is_idle or plugin.position < kernel.health().position:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            log, after = list[Event](), 0
            while page := await kernel.events(after, 5000):
                log, after = [*log, *page], page[-1].position
            counted = {stats.job_id: facts(stats) for stats in plugin.of_jobs() if plugin.position == after}

    assert kept_at[-1] > 0
    assert counted == recount(log)
