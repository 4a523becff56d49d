"""A server of a log of random runs, whose clock stands still at its end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from gnomon import Event, Job
from gnomon.stores.memory import MemoryStore
from gnomon.testing.clock import VirtualClock
from gnomon.testing.histories import NOON, append
from gnomon.testing.kernels import make_kernel
from gnomon_stats import StatsPlugin
from gnomon_web import WebPlugin
from gnomon_web.config import Config
from random_logs import KINDS, history

JOBS = ("atlas", "birch", "cedar")
DAYS = 9
NOW = NOON + timedelta(days=DAYS, minutes=31)


async def work() -> None:
    """A job."""


def histories(seed: int, runs: int) -> list[list[Event]]:
    """Return the histories of random runs of `DAYS` days, most of them in the last hours."""
    chance = random.Random(seed)
    made = []
    for number in range(runs):
        kind, minutes = chance.choice(KINDS), 30 + DAYS * 24 * 60 * chance.random() ** 4
        # An import is recorded a day after its run.
        before = timedelta(
            minutes=max(minutes, 25 * 60) if kind.startswith("imported") else minutes, microseconds=number
        )
        made.append(history(kind, chance.choice(JOBS), NOW - before, chance.uniform(1, 900)))
    return made


@asynccontextmanager
async def served_log(seed: int, runs: int = 150) -> AsyncIterator[tuple[Sequence[Event], str]]:
    """Serve a random log with the plugin `stats`; yield its events and the URL."""
    store, web, stats = MemoryStore(), WebPlugin(Config(port=0)), StatsPlugin()
    async with store:
        await append(store, *histories(seed, runs))
    jobs = [Job(id=name, func=work) for name in JOBS]
    clock, plugins = VirtualClock(NOW), [web, stats]
    async with make_kernel(*jobs, plugins=plugins, store=store, clock=clock, keeps_time=False) as kernel:
        async with asyncio.timeout(60):
            while not kernel.is_idle or stats.position < kernel.health().position:  # noqa: ASYNC110 - another thread
                await asyncio.sleep(0.002)
        yield await kernel.events(0, 10_000), web.url
