"""The numbers that pages show equal those of a plain count of the log, and agree with each other: for random logs,
with a restart in between, and where the plugin `stats` is installed late.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import aiohttp
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gnomon import Duration, Event, Execution, Job
from gnomon.stores.memory import MemoryStore
from gnomon.testing.clock import VirtualClock
from gnomon.testing.histories import NOON, append
from gnomon.testing.kernels import make_kernel
from gnomon_stats import StatsPlugin
from gnomon_web import WebPlugin
from gnomon_web.config import Config
from random_logs import KINDS, ends_of, history, runs_of

JOBS = ("a", "b", "c")
MINUTE = timedelta(minutes=1)
MINUTES = 3 * 24 * 60
NOW = NOON + MINUTES * MINUTE
STATUSES = ("success", "failed", "missed", "cancelled")
EVERY = {"a": Duration(minutes=7), "b": Duration(hours=5), "c": Duration(minutes=90)}
"""The intervals of the jobs. No fire is due in these tests, whose clock stands still."""
BADGES = {"success": "succeeded", "cancelled": "cancelled", "failed": "failed", "missed": "missed"}


class Case(NamedTuple):
    histories: list[list[Event]]
    restart: int
    is_late: bool
    span: timedelta
    buckets: int
    past: timedelta
    ahead: timedelta


@st.composite
def cases(draw: st.DrawFn) -> Case:
    run = st.tuples(st.sampled_from(KINDS), st.sampled_from(JOBS), st.integers(0, MINUTES - 30), st.floats(0, 1e4))
    runs = draw(st.lists(run, min_size=1, max_size=40))
    histories = [
        history(kind, job, NOON + after * MINUTE + timedelta(microseconds=number), seconds)
        for number, (kind, job, after, seconds) in enumerate(runs)
    ]
    span = timedelta(minutes=draw(st.sampled_from([60, 1_440, 3 * 1_440, 30 * 1_440])))
    return Case(
        histories,
        draw(st.integers(0, len(runs))),
        draw(st.booleans()),
        span,
        draw(st.integers(1, 150)),
        draw(st.integers(0, MINUTES - 60)) * MINUTE,
        draw(st.integers(1, 31 * 24)) * timedelta(hours=1),
    )


async def tick() -> None:
    """A job."""


def plugins(*, with_stats: bool) -> tuple[WebPlugin, StatsPlugin | None, list[Any]]:
    web, stats = WebPlugin(Config(port=0)), StatsPlugin() if with_stats else None
    return web, stats, [web, *([stats] if stats is not None else [])]


async def answers(case: Case) -> tuple[dict[str, Any], Sequence[Event]]:
    """Write the log around a restart, and return what the pages of the second server get, and the whole log."""
    store, jobs = MemoryStore(), [Job(id=name, func=tick, every=EVERY[name]) for name in JOBS]
    async with store:
        await append(store, *case.histories[: case.restart])
    _, _, before = plugins(with_stats=not case.is_late)
    async with make_kernel(*jobs, plugins=before, store=store, clock=VirtualClock(NOW), keeps_time=False):
        pass
    async with store:
        await append(store, *case.histories[case.restart :])
    web, stats, now = plugins(with_stats=True)
    assert stats is not None
    async with make_kernel(*jobs, plugins=now, store=store, clock=VirtualClock(NOW), keeps_time=False) as kernel:
        async with asyncio.timeout(60):
            while not kernel.is_idle or stats.position < kernel.health().position:  # noqa: ASYNC110 - another thread
                await asyncio.sleep(0.002)
        since = (NOW - case.span).isoformat().replace("+", "%2B")
        hours = int(case.ahead.total_seconds()) // 3600
        past = min((await kernel.events(0, 1))[0].at + case.past, NOW)
        calls = {
            "lanes": f"/scheduler/lanes?from={since}&buckets={case.buckets}",
            "recent": "/scheduler/jobs?fields=recent&recent=50",
            "today": "/scheduler/stats/today",
            "overview": "/scheduler/stats",
            "states": "/scheduler/job-states",
            "past": f"/scheduler/past?at={past.isoformat().replace('+', '%2B')}",
            "forecast": f"/scheduler/forecast?to=%2B{hours}h&fires=1",
            "compare": f"/scheduler/compare?span={int(case.span.total_seconds())}s",
            **{f"badge {name}": f"/badge/{name}.svg" for name in JOBS},
            **{f"stats {name}": f"/scheduler/jobs/{name}/execution-stats" for name in JOBS},
            **{f"list {status}": f"/scheduler/executions?status={status}&limit=1" for status in STATUSES},
        }
        found = {}
        async with aiohttp.ClientSession() as client:
            for name, path in calls.items():
                async with client.get(web.url + path) as response:
                    assert response.status == 200, await response.text()
                    found[name] = await (response.text() if name.startswith("badge") else response.json())
        return found | {"ahead": case.ahead}, await kernel.events(0, 10_000)


def by_status(log: Sequence[Event], since: datetime, until: datetime, *jobs: str) -> dict[str, int]:
    counts = Counter[str]()
    for end in ends_of(log):
        if since <= end.at < until and end.job in jobs:
            counts[end.status] += end.fires
    return {status: counts[status] for status in STATUSES}


@given(cases())
@settings(max_examples=8, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])  # two servers each
def test_the_numbers_of_pages_are_those_of_the_log(case: Case) -> None:
    found, log = asyncio.run(answers(case))
    runs = runs_of(log)

    lanes = found["lanes"]
    since, until = (datetime.fromisoformat(lanes[end]) for end in ("from", "to"))
    assert lanes["all"]["total"] == by_status(log, since, until, *JOBS)
    for lane in lanes["lanes"]:
        assert lane["total"] == by_status(log, since, until, lane["job_id"])
        for status in STATUSES:
            assert sum(lane[status] or [0]) == lane["total"][status]
    always = datetime.min.replace(tzinfo=NOON.tzinfo), datetime.max.replace(tzinfo=NOON.tzinfo)
    for name in JOBS:
        stats = found[f"stats {name}"]
        assert {status: stats[status] for status in STATUSES} == by_status(log, *always, name)
        assert stats["running"] == sum(run.status == "running" for run in runs if run.job_id == name)
    midnight = NOW.replace(hour=0)
    today = by_status(log, midnight, midnight + timedelta(days=1), *JOBS)
    assert {status: found["today"][status] for status in STATUSES} == today
    assert {status: found["overview"]["today"][status] for status in STATUSES} == today
    for job in found["recent"]:
        newest = [run for run in runs if run.job_id == job["id"]][:50]
        assert [(one["_id"], one["status"]) for one in job["recent"]] == [(run.id, run.status) for run in newest]
    for status in STATUSES:
        assert found[f"list {status}"]["total"] == sum(run.status == status for run in runs)

    _check_states(found, runs)
    _check_past(found, log)
    _check_comparison(found, log)
    _check_forecast(found, runs)


def _check_states(found: dict[str, Any], runs: Sequence[Execution]) -> None:
    """Check the states of jobs and their badges, by their newest runs."""
    newest = {name: next((run.status for run in runs if run.job_id == name), None) for name in JOBS}
    for state in found["states"]["jobs"]:
        assert state.get("last") == newest[state["id"]]
    for name, status in newest.items():
        said = "never ran" if status is None else BADGES.get(status, status)
        assert f"<title>{name}: {said}</title>" in found[f"badge {name}"]


def _check_past(found: dict[str, Any], log: Sequence[Event]) -> None:
    """Check a moment of the past, which is the state after the last event by then."""
    at = datetime.fromisoformat(found["past"]["at"])
    last = max(event.position for event in log if event.at <= at)
    then = runs_of([event for event in log if event.position <= last])
    for status in ("running", "scheduled"):
        assert found["past"][status] == sum(run.status == status for run in then)


def _check_comparison(found: dict[str, Any], log: Sequence[Event]) -> None:
    compared = found["compare"]
    for side, ends in (("period", ("from", "to")), ("other", ("other_from", "other_to"))):
        since, until = (datetime.fromisoformat(compared[one]) for one in ends)
        for figures, names in ((compared["all"], JOBS), *((one, (one["job_id"],)) for one in compared["jobs"])):
            assert {status: figures[side][status] for status in STATUSES} == by_status(log, since, until, *names)


def _check_forecast(found: dict[str, Any], runs: Sequence[Execution]) -> None:
    fires = {name: found["ahead"] // EVERY[name] for name in JOBS}
    running = sum(run.status == "running" for run in runs)
    totals = {"running": running, "run": sum(fires.values())}
    assert found["forecast"]["totals"] == {outcome: count for outcome, count in totals.items() if count}
    assert all(one["fires"] == fires[one["job_id"]] for one in found["forecast"]["jobs"])
