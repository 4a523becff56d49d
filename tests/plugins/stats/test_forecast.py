"""What is to come: the fires of the schedules, the ends of their runs, and what will not run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from gnomon import Duration, Event, Job, Kernel, Missed, Scheduled, Succeeded, UnknownJobError, hookimpl
from gnomon.analysis.plan import plan
from gnomon.jobs.registered import register_job
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


async def test_the_first_fires_over_all_jobs_are_listed_and_frequent_jobs_are_a_rate() -> None:
    plugin = StatsPlugin()
    jobs = [job("often", "30s"), job("hourly", "1h"), job("daily", "1d"), job("halves", "30m", paused=True)]
    async with make_kernel(*jobs, plugins=[plugin], clock=VirtualClock(FRIDAY)) as kernel:
        ask = plugin.answer_forecast
        found = await ask(None, viewer(kernel), ForecastsQuery(fires=10))
        soon = await ask(None, viewer(kernel), ForecastsQuery(fires=3, jobs=3, totals=False, status="active"))

    listed = {job.job_id: [round((run.at - FRIDAY) / MINUTE) for run in job.runs] for job in found.jobs}
    assert [run.at for run in of_job(found.jobs, "often").runs] == [FRIDAY + MINUTE / 2]
    assert listed["halves"] == [30, 60, 90, 120, 150, 180]
    assert (listed["hourly"], listed["daily"]) == ([60, 120, 180], [])
    often = of_job(found.jobs, "often")
    assert (often.interval_s, often.fires, often.cut) == (30.0, 2_880, 2_879)
    assert [job.interval_s for job in found.jobs if job is not often] == [None] * 3
    assert found.totals == {"run": 2_880 + 24 + 1, "paused": 48}
    assert found.cut.fires == 2_880 + 24 + 1 + 48 - 10
    assert {job.job_id: (job.fires, job.notes[1:]) for job in soon.jobs} == {
        "often": (3, []),
        "hourly": (3, []),
        "daily": (1, []),
    }


async def test_jobs_are_chosen_by_text_tag_label_and_status() -> None:
    plugin = StatsPlugin()
    jobs = [
        job("etl.load", "1h", tags=["etl"], labels={"tenant": "7"}),
        Job(id="etl.check", func=tick, every=Duration(hours=1), tags=["etl", "night"], name="Quality"),
        job("mail", "1h", paused=True),
    ]
    async with make_kernel(*jobs, plugins=[plugin], clock=VirtualClock(FRIDAY)) as kernel:

        async def chosen(**filters: Any) -> list[str]:
            found = await plugin.answer_forecast(None, viewer(kernel), ForecastsQuery(**filters))
            return sorted(job.job_id for job in found.jobs)

        assert await chosen(tag="etl") == ["etl.check", "etl.load"]
        assert await chosen(q="QUAL") == ["etl.check"]
        assert await chosen(label="tenant:7") == ["etl.load"]
        assert await chosen(status="paused") == ["mail"]
        assert await chosen(status="active", tag="night") == ["etl.check"]
    with pytest.raises(ValueError, match="expected a label"):
        ForecastsQuery(label="tenant")


async def test_runs_wait_where_the_slots_of_their_group_are_taken() -> None:
    plugin, clock = StatsPlugin(), VirtualClock(FRIDAY)
    jobs = [job(name, "1h", group="warehouse") for name in ("a", "b", "c")] + [job("free", "1h")]
    store = await past_of(a=20, b=30, c=10, free=10)
    groups = {"warehouse": {"limit": 2}}
    async with make_kernel(*jobs, plugins=[plugin], clock=clock, store=store, groups=groups) as kernel:
        await counted(kernel, plugin)
        found = await plugin.answer_forecast(None, viewer(kernel), ForecastsQuery(until=clock.now() + HOUR))

    first = {job.job_id: job.runs[0] for job in found.jobs}
    assert [name for name, run in first.items() if run.waits_for == "warehouse"] == ["c"]
    waits = first["c"]
    assert waits.starts == waits.at + 20 * MINUTE
    assert (waits.ends_low, waits.ends, waits.ends_high) == (waits.at + 30 * MINUTE,) * 3
    assert waits.detail == "waits for one of the 2 slots of the group 'warehouse'"


async def test_a_forecast_has_the_fires_of_a_plan_for_the_same_period() -> None:
    plugin, clock = StatsPlugin(), VirtualClock(FRIDAY)
    jobs = [
        job("often", "7m"),
        Job(id="nightly", func=tick, cron="30 2 * * 1-5", timezone="America/New_York"),
        Job(id="early", func=tick, cron="17 5 * * *"),
        Job(id="once", func=tick, at=FRIDAY + 3 * DAY),
        Job(id="by-hand", func=tick),
    ]
    planned = plan([], [register_job(one, "UTC") for one in jobs], clock.now(), 7)
    async with make_kernel(*jobs, plugins=[plugin], clock=clock) as kernel:
        found = await plugin.answer_forecast(None, viewer(kernel), ForecastsQuery(until=FRIDAY + 7 * DAY))

    expected = {job.job_id: (job.gained.count, job.gained.first) for job in planned.jobs if job.gained.count}
    assert {one.job_id: (one.fires, [run.at for run in one.runs[:5]]) for one in found.jobs} == expected
    assert sum(one.fires for one in found.jobs) == 1_440 + 5 + 7 + 1


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
