"""Pages get the same from SQLite and MongoDB, and from the kernel that leads and one that follows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gnomon import Context, Duration, Job, Kernel, LogLine, Store
from gnomon.testing.clock import VirtualClock
from gnomon.testing.histories import NOON, append, failed
from gnomon.testing.kernels import make_kernel
from gnomon_alerts import AlertsPlugin
from gnomon_mongo import MongoStore
from gnomon_sqlite import SqliteStore
from gnomon_stats import StatsPlugin
from gnomon_web import WebPlugin
from gnomon_web.config import Config
from random_logs import KINDS, history
from servers import eventually

pytestmark = pytest.mark.parametrize("driver", ["pymongo"], indirect=True)

JOBS = ("load", "report")
NOW = NOON + timedelta(days=3)
LOGGED = failed("load", NOON + timedelta(minutes=30))
LEVELS = ("debug", "info", "warning", "error")
DROPPED = {"position", "seq", "log"}
"""Two logs have different ones: each kernel adds what it does itself."""
LOG_QUERIES = ("summary=true", "q=ROW%204&summary=true", "level=error", "newest=true&limit=3", "before=9&limit=2")
THEN = f"at={(NOON + timedelta(days=1)).isoformat().replace('+', '%2B')}"
PATHS = (
    f"/scheduler/past?{THEN}",
    f"/scheduler/jobs?{THEN}",
    f"/scheduler/executions?limit=200&{THEN}",
    f"/scheduler/executions?status=running&{THEN}",
    f"/scheduler/job-states?{THEN}",
    f"/scheduler/jobs/load/executions?{THEN}",
    "/scheduler/jobs?fields=recent&recent=20",
    "/scheduler/jobs",
    "/scheduler/jobs/load",
    "/scheduler/job-states",
    "/scheduler/lanes?buckets=48&quantiles=true",
    f"/scheduler/lanes?from={(NOON - timedelta(days=1)).isoformat().replace('+', '%2B')}&buckets=100",
    "/scheduler/jobs/load/lane",
    "/scheduler/forecast",
    "/scheduler/jobs/report/forecast",
    "/scheduler/alerts?state=all",
    "/scheduler/alert-channels",
    "/scheduler/executions?limit=200",
    "/scheduler/jobs/load/execution-stats",
    "/scheduler/stats/today",
    "/badge/load.svg",
    "/badge/report.svg",
    *(f"/scheduler/executions/{LOGGED[0].stream}/log?{query}" for query in LOG_QUERIES),
)


def histories() -> list[list[Any]]:
    """Return runs of every kind but those without an end, which a kernel that starts ends itself."""
    chance = random.Random(3)
    kinds = [kind for kind in KINDS if kind not in {"running", "snoozed"}]
    found = [LOGGED]
    for number in range(60):
        at = NOON + timedelta(minutes=31 * number + 1, microseconds=number)
        found.append(history(chance.choice(kinds), chance.choice(JOBS), at, chance.uniform(1, 4_000)))
    found += [history("success", "slow", NOON + timedelta(minutes=number), 60.0 + number) for number in range(5)]
    return sorted(found, key=lambda events: events[0].at)


class Member:
    """A kernel with its server."""

    def __init__(self, store: Store, role: Any, client: aiohttp.ClientSession, release: asyncio.Event) -> None:
        async def slow(ctx: Context) -> None:
            ctx.progress(60.0, "more than half")
            await release.wait()

        async def quick() -> None: ...

        self._client = client
        self._web, self._folds = WebPlugin(Config(port=0)), (StatsPlugin(), AlertsPlugin())
        jobs = [Job(id=name, func=quick, every=Duration(hours=5), tags=["etl"]) for name in JOBS]
        self.kernel = make_kernel(
            *jobs,
            Job(id="slow", func=slow),
            plugins={"web": self._web, "stats": self._folds[0], "alerts": self._folds[1]},
            store=store,
            clock=VirtualClock(NOW),
            role=role,
        )

    async def answers(self, position: int, run: str) -> dict[str, Any]:
        """Return what pages get, once the log is known up to a position, and the first frame about a run."""
        await eventually(lambda: self.kernel.health().position >= position)
        await eventually(lambda: min(fold.position for fold in self._folds) >= position)
        found = {path: await self._get(path) for path in PATHS}
        url = self._web.url.replace("http", "ws")
        async with self._client.ws_connect(f"{url}/ws/progress/{run}") as socket:
            return found | {"/ws/progress": plain(await socket.receive_json())}

    async def _get(self, path: str) -> Any:
        async with self._client.get(self._web.url + path) as answer:
            is_json = "json" in answer.content_type
            return answer.status, plain(await answer.json() if is_json else await answer.text())


async def answers_of(make: Callable[[], Store]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the log, and return what the kernel that leads it answers, and one that follows."""
    release = asyncio.Event()
    async with make() as store:
        await append(store, *histories())
        lines = [LogLine(number, LOGGED[0].at, LEVELS[number % 4], f"row {number}") for number in range(1, 60)]
        await store.append_log(LOGGED[0].stream, lines)
    async with aiohttp.ClientSession() as client:
        leader = Member(make(), "leader", client, release)
        follower = Member(make(), "follower", client, release)
        async with leader.kernel, follower.kernel:
            run = (await leader.kernel.trigger("slow", idempotency_key="the same")).execution.id
            await eventually(partial(has_progress, leader.kernel, run))
            await eventually(lambda: leader.kernel.is_idle)
            head = leader.kernel.health().position
            found = await leader.answers(head, run), await follower.answers(head, run)
            release.set()
        return found


async def has_progress(kernel: Kernel, run: str) -> bool:
    return (await kernel.execution(run)).progress.percent is not None


async def test_pages_get_the_same_from_sqlite_and_mongodb_and_from_a_follower(
    tmp_path: Path, make_store: Callable[..., MongoStore]
) -> None:
    sqlite, its_follower = await answers_of(lambda: SqliteStore(tmp_path / "log.db"))
    mongo, other_follower = await answers_of(make_store)

    for path in sqlite:
        assert path == "/ws/progress" or sqlite[path][0] == 200, sqlite[path]
        assert its_follower[path] == sqlite[path], path
        assert mongo[path] == sqlite[path], path
        assert other_follower[path] == sqlite[path], path
    assert sqlite["/ws/progress"]["eta"]["basis"] == "progress and past"
    assert sqlite["/scheduler/alerts?state=all"][1]["total"] > 0


def plain(answer: Any) -> Any:
    """Return an answer without what differs between any two logs."""
    if isinstance(answer, dict):
        return {key: plain(value) for key, value in answer.items() if key not in DROPPED}
    return [plain(one) for one in answer] if isinstance(answer, list) else answer
