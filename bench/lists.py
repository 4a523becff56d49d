"""Request lists of executions over HTTP from a SQLite log with a million of them, and time the handler.

    python bench/lists.py [EXECUTIONS] [REQUESTS]

Fills a log in a temporary folder (a million executions in about a minute), requests each kind of page REQUESTS times
with random jobs and positions, and prints one JSON line and one sentence. Times are from the access log, in ms.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import structlog

from gnomon import Job, Kernel, Store
from gnomon.domain.execution import execution_id
from gnomon.plugins.plugin_set import PluginSet
from gnomon.stores.page_cursor import Cursor, write_cursor
from gnomon_sqlite import SqliteStore
from gnomon_web import WebPlugin
from gnomon_web.config import Config
from runs import fill, runs

Request: TypeAlias = Callable[[str], Awaitable[tuple[Any, float]]]

JOBS = [f"job-{number}" for number in range(50)]
START = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(seconds=10)
TARGET = 20.0


async def body() -> None:
    """Return at once."""


def kinds(count: int) -> dict[str, Any]:
    """Return the kinds of pages by name, each with a function that returns its query."""
    chance = random.Random(11)  # noqa: S311 - the same requests each time

    def deep() -> str:
        number = chance.randrange(count)
        at = START + number * STEP
        return write_cursor(Cursor(at, execution_id(JOBS[number % len(JOBS)], at)))

    return {
        "newest": lambda: "",
        "by_job": lambda: f"job_id={chance.choice(JOBS)}",
        "by_status": lambda: f"status={chance.choice(['failed', 'missed', 'success'])}",
        "by_manual": lambda: f"is_manual={chance.choice(['true', 'false'])}",
        "combined": lambda: f"job_id={chance.choice(JOBS)}&status=failed,missed&is_manual=false",
        "by_actor": lambda: f"query=by:actor-{chance.randrange(20)}",
        "by_actor_and_status": lambda: f"query=by:actor-{chance.randrange(20)}+status:failed",
        "some_jobs": lambda: f"query=job:{','.join(chance.sample(JOBS, 5))}",
        "late": lambda: "query=late>1m",
        "late_this_week": lambda: f"query=late>1m+since:{(START + count * STEP - timedelta(days=7)).isoformat()[:19]}Z",
        "longest": lambda: "sort=-duration",
        "longest_of_job": lambda: f"sort=-duration&job_id={chance.choice(JOBS)}",
        "sorted_by_job": lambda: "sort=job",
        "search": lambda: f"q=shard%20{chance.randrange(17)}",
        "deep": lambda: f"cursor={deep()}",
        "deep_by_job": lambda: f"job_id={chance.choice(JOBS)}&cursor={deep()}",
    }


@asynccontextmanager
async def served(store: Store) -> AsyncIterator[Request]:
    """Serve the lists of a log; yield what requests one, and returns the page and the time that it took, in ms."""
    times: list[float] = []

    def collect(_: Any, __: str, line: Any) -> Any:
        if line["event"] == "request":
            times.append(line["ms"])
        raise structlog.DropEvent

    plugins = PluginSet()
    web = plugins.add(WebPlugin(Config(port=0)), "web").object
    jobs = [Job(id=job_id, func=body) for job_id in JOBS]
    async with (
        Kernel(store=store, jobs=jobs, plugins=plugins, keeps_time=False),
        aiohttp.ClientSession() as client,
    ):

        async def request(query: str) -> tuple[Any, float]:
            structlog.configure(processors=[collect], wrapper_class=structlog.make_filtering_bound_logger(0))
            async with client.get(f"{web.url}/scheduler/executions?limit=50&{query}") as answer:
                page = await answer.json()
                if answer.status != 200:
                    sys.exit(f"{query}: {answer.status} {page}")
            return page, times[-1]

        yield request


async def measure(path: Path, count: int, requests: int) -> dict[str, Any]:
    """Send the requests, and return the median and the 99th percentile of each kind."""
    found: dict[str, Any] = {}
    async with served(SqliteStore(path)) as request:
        for name, query in kinds(count).items():
            times: list[float] = []
            for _ in range(requests):
                page, spent = await request(query())
                times.append(spent)
                if name == "newest" and page["total"] != count:
                    sys.exit(f"{name}: {page}")
            ordered = sorted(times)
            found[name] = {"p50": ordered[len(ordered) // 2], "p99": ordered[int(len(ordered) * 0.99)]}
    return found


def main() -> None:
    """Measure once and print the results."""
    count, requests = (int(argument) for argument in (*sys.argv[1:], "1000000", "200")[:2])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lists.db"
        fill(path, runs(count, JOBS, START, STEP))
        found = asyncio.run(measure(path, count, requests))
    slowest = max(found, key=lambda name: float(found[name]["p99"]))
    print(json.dumps({"executions": count, "requests": requests, "target_ms": TARGET, "ms": found}))
    print(
        f"With {count:,} executions the slowest kind of page is {slowest!r}: median {found[slowest]['p50']} ms, "
        f"p99 {found[slowest]['p99']} ms; the target is {TARGET:g} ms, including the exact total."
    )


if __name__ == "__main__":
    main()
