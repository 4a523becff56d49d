"""What is to come: the fires of the schedules, the ends of their runs, and what will not run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from gnomon import Event, Job, Kernel, Missed, Scheduled, Succeeded, UnknownJobError, hookimpl
from gnomon.stores.memory import MemoryStore
from gnomon.testing.clock import VirtualClock
from gnomon.testing.histories import NOON, append, extend, running
from gnomon.testing.kernels import make_kernel
from gnomon.wire.caller import Caller
from gnomon.wire.forecast import ForecastJob
from gnomon_market import MarketPlugin
from gnomon_stats import StatsPlugin
from gnomon_stats.forecast_calls import ForecastQuery, ForecastsQuery

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FRIDAY = datetime.fromisoformat("2026-10-09T00:00:00+00:00")


async def tick() -> None:
    """A job."""


def job(name: str, every: str, **keys: Any) -> Job:
    return Job(id=name, func=tick, every=every, **keys)  # type: ignore[arg-type]


def viewer(kernel: Kernel) -> Caller:
    async def sees(_job_id: str) -> bool:
        return True

    return Caller(actor="ann", kernel=kernel, sees=sees)


async def past_of(**minutes: float) -> MemoryStore:
    """Return a log in which each job has five successes of that many minutes."""
    store = MemoryStore()
    async with store:
        runs = [
            extend(running(name, FRIDAY - days * DAY), Succeeded, execution_time=spent * 60)
            for name, spent in minutes.items()
            for days in range(20, 25)
        ]
        await append(store, *runs)
    return store


async def counted(kernel: Kernel, plugin: StatsPlugin) -> None:
    while not kernel.is_idle or plugin.position < kernel.health().position:  # noqa: ASYNC110 - it is another thread
        await asyncio.sleep(0.005)


def of_job(jobs: list[ForecastJob], job_id: str) -> ForecastJob:
    return next(job for job in jobs if job.job_id == job_id)


class Events(list[Event]):
    """All events, in order."""

    @hookimpl
    def on_events(self, events: Sequence[Event]) -> None:
        self.extend(events)


class Veto:
    """Vetoes every fire on the hour, and knows that beforehand."""

    @hookimpl
    def guard(self, scheduled_time: datetime) -> str | None:
        return self.closed(None, scheduled_time)

    @hookimpl(optionalhook=True)
    def register_closures(self, register: Callable[[Any], None]) -> None:
        register(self.closed)

    def closed(self, _job: Any, at: datetime) -> str | None:
        return "on the hour" if at.minute == 0 else None


async def test_what_a_forecast_says_is_what_happens() -> None:
    plugin, clock, events = StatsPlugin(), VirtualClock(FRIDAY), Events()
    jobs = [
        job("often", "8m"),
        Job(id="nightly", func=tick, cron="30 2 * * *", timezone="Asia/Shanghai"),
        job("paused", "1h", paused=True),
        Job(id="by-hand", func=tick),
    ]
    async with make_kernel(*jobs, plugins=[plugin, Veto(), events], clock=clock) as kernel:
        skipped = await kernel.skip("often", reason="a rehearsal")
        until = clock.now() + DAY
        found = await plugin.answer_forecast(None, viewer(kernel), ForecastsQuery(until=until))
        await clock.advance_to(until)
        await counted(kernel, plugin)

    said = {(job.job_id, run.at): run.outcome for job in found.jobs for run in job.runs if run.outcome != "paused"}
    missed = {"guard": "closed", "skipped": "skipped"}
    happened = {
        (event.job_id, event.scheduled_time): missed[event.reason] if isinstance(event, Missed) else "run"
        for event in events
        if isinstance(event, Missed | Scheduled)
    }
    assert said[("often", skipped)] == "skipped"
    assert said == happened
    assert of_job(found.jobs, "paused").totals == {"paused": 24}
    assert [job.job_id for job in found.jobs] == ["often", "paused", "nightly"]


async def test_runs_have_bands_and_overlaps_are_foreseen() -> None:
    plugin, clock = StatsPlugin(), VirtualClock(FRIDAY)
    jobs = [job(name, "10m") for name in ("skips", "quick", "unknown")] + [job("queues", "10m", overlap="queue")]
    store = await past_of(skips=25, queues=12, quick=2)
    async with make_kernel(*jobs, plugins=[plugin], clock=clock, store=store) as kernel:
        await counted(kernel, plugin)
        found = await plugin.answer_forecast(None, viewer(kernel), ForecastsQuery(until=clock.now() + HOUR))
        one = await plugin.answer_job_forecast(None, "quick", ForecastQuery())
        with pytest.raises(UnknownJobError):
            await plugin.answer_job_forecast(None, "quik", ForecastQuery())

    skips, queues = of_job(found.jobs, "skips"), of_job(found.jobs, "queues")
    assert [run.outcome for run in skips.runs] == ["run", "overlap", "overlap", "run", "overlap", "overlap"]
    assert [run.starts - run.at for run in queues.runs[:3]] == [0 * MINUTE, 2 * MINUTE, 4 * MINUTE]  # type: ignore[operator]
    quick = of_job(found.jobs, "quick").runs[0]
    assert [end - quick.at for end in (quick.ends_low, quick.ends, quick.ends_high)] == [2 * MINUTE] * 3  # type: ignore[operator]
    unknown = of_job(found.jobs, "unknown")
    assert (unknown.runs[0].ends, unknown.totals) == (None, {"run": 6})
    assert "fewer than 3 runs have succeeded" in unknown.notes[0]
    assert found.totals == {"run": 20, "overlap": 4}
    assert (one.jobs[0].fires, one.until - one.since) == (144, DAY)


async def test_a_closed_exchange_is_foreseen() -> None:
    plugin = StatsPlugin()
    prices = Job(id="prices", func=tick, cron="0 10 * * *", timezone="Asia/Shanghai", options={"calendar": "XSHG"})
    async with make_kernel(prices, plugins=[plugin, MarketPlugin()], clock=VirtualClock(FRIDAY)) as kernel:
        found = await plugin.answer_forecast(None, viewer(kernel), ForecastsQuery(until=FRIDAY + 4 * DAY))

    assert [run.outcome for run in found.jobs[0].runs] == ["run", "closed", "closed", "run"]  # from a Friday on
    assert "XSHG" in (found.jobs[0].runs[1].detail or "")


async def test_a_run_of_now_and_held_fires_are_shown() -> None:
    plugin, clock, release = StatsPlugin(), VirtualClock(FRIDAY), asyncio.Event()

    async def waits() -> None:
        await release.wait()

    long = Job(id="long", func=waits, every="1h")  # type: ignore[arg-type]
    async with make_kernel(long, plugins=[plugin], clock=clock, store=await past_of(long=90)) as kernel:
        await kernel.trigger("long")
        await clock.advance(10 * MINUTE)
        await counted(kernel, plugin)
        before = await plugin.answer_forecast(None, viewer(kernel), ForecastsQuery(until=FRIDAY + 3 * HOUR))
        await kernel.hold()
        held = await plugin.answer_forecast(None, viewer(kernel), ForecastsQuery(until=FRIDAY + 3 * HOUR))
        release.set()

    first, second = before.jobs[0].runs[:2]
    assert [(first.outcome, first.at), (second.outcome, second.at)] == [("running", FRIDAY), ("overlap", FRIDAY + HOUR)]
    assert before.jobs[0].runs[0].ends == FRIDAY + 90 * MINUTE
    assert held.jobs[0].totals == {"running": 1, "held": 3}


async def test_what_is_cut_is_counted() -> None:
    plugin = StatsPlugin()
    jobs = [job(f"job-{n}", "1m") for n in range(4)]
    async with make_kernel(*jobs, plugins=[plugin], clock=VirtualClock(FRIDAY)) as kernel:
        found = await plugin.answer_forecast(None, viewer(kernel), ForecastsQuery(jobs=3))

    assert (len(found.jobs), found.cut.jobs, found.cut.fires) == (3, 1, 3 * (1_440 - 200))
    assert found.totals == {"run": 3 * 1_440}


class Broken:
    """A trigger that raises from its second fire on."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        if previous is not None and previous >= FRIDAY + HOUR:
            raise RuntimeError("no tables for next week")
        return (previous or FRIDAY) + HOUR


async def test_a_schedule_that_fails_is_noted_and_does_not_hide_the_others() -> None:
    plugin = StatsPlugin()
    jobs = [Job(id="broken", func=tick, trigger=Broken()), job("good", "1h")]
    async with make_kernel(*jobs, plugins=[plugin], clock=VirtualClock(FRIDAY)) as kernel:
        found = await plugin.answer_forecast(None, viewer(kernel), ForecastsQuery())

    assert "no tables for next week" in "".join(of_job(found.jobs, "broken").notes)
    assert of_job(found.jobs, "good").fires == 24


def test_a_period_must_be_one() -> None:
    with pytest.raises(ValueError, match="must be before"):
        ForecastQuery(since=NOON, until=NOON)
    with pytest.raises(ValueError, match="at most 31 days"):
        ForecastQuery(since=NOON, until=NOON + 32 * DAY)
