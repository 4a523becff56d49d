"""A day of jobs on a virtual clock, served while the clock stands still, so that every page is reproducible."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import demo_jobs  # type: ignore[import-not-found]  # beside this file

from gnomon import Job, Kernel
from gnomon.jobs.definition import convert_job
from gnomon.testing import VirtualClock
from gnomon.testing.kernels import make_kernel
from gnomon_web import WebPlugin
from gnomon_web.config import Config

NOW = datetime(2026, 11, 25, 12, 29, 10, tzinfo=UTC)
STEPS = ["fetch", "validate", "store"]
JOBS: list[dict[str, Any]] = [
    {"id": "quotes", "name": "Realtime quotes", "func": demo_jobs.quotes, "every": "15m", "tags": ["market"]},
    {
        "id": "daily_bars",
        "name": "Daily bars",
        "description": "Open, high, low, close and volume of every listed share.",
        "func": demo_jobs.bars,
        "cron": "25 * * * *",
        "kwargs": {"market": "cn", "symbols": 60, "seconds": 420},
        "steps": STEPS,
        "timeout": "30m",
        "tags": ["market"],
    },
    {
        "id": "financials",
        "name": "Financial statements",
        "func": demo_jobs.bars,
        "cron": "10 */3 * * *",
        "kwargs": {"market": "hk", "symbols": 40, "seconds": 2400},
        "steps": STEPS,
        "retry": {"attempts": 3, "delay": "30s"},
        "tags": ["market"],
    },
    {"id": "news", "name": "News", "func": demo_jobs.news, "every": "30m", "tags": ["crawler"]},
    {"id": "report", "name": "Evening report", "func": demo_jobs.report, "cron": "0 18 * * *"},
    {"id": "heartbeat", "name": "Data source check", "func": demo_jobs.quick, "every": "20m"},
    {"id": "cleanup", "name": "Old files", "func": demo_jobs.quick, "cron": "30 3 * * *"},
]


@asynccontextmanager
async def served_day(hours: float = 25.1, *plugins: Any) -> AsyncIterator[tuple[Kernel, str]]:
    """Simulate `hours` hours up to NOW and serve the result; yield the kernel and the URL."""
    clock, web = VirtualClock(NOW - timedelta(hours=hours)), WebPlugin(Config(port=0))
    demo_jobs.sleep, demo_jobs.chance = clock.sleep, demo_jobs.make_chance()
    jobs: list[Job] = [convert_job(keys, "the demo") for keys in JOBS]
    async with make_kernel(*jobs, clock=clock, plugins=[web, *plugins], node="node-a") as kernel:
        await clock.advance_to(NOW - timedelta(hours=hours / 2))
        await kernel.pause("financials", actor="mei", reason="the provider changes its format")
        await clock.advance_to(NOW - timedelta(hours=hours / 2 - 4))
        await kernel.resume("financials", actor="mei")
        await kernel.pause("cleanup", actor="mei", reason="until the disk is replaced")
        await clock.advance_to(NOW - timedelta(minutes=50))
        await kernel.trigger("report", actor="anna")
        await clock.advance_to(NOW - timedelta(minutes=5))
        await kernel.trigger("news", kwargs={"fails": 1.0}, actor="anna")
        await clock.advance_to(NOW)
        yield kernel, web.url
