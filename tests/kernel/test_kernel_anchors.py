"""What a restart does to triggers that count: their anchor is in the log, so it does nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.interval import IntervalTrigger

from gnomon import Duration, Job, Missed, Scheduled
from gnomon.analysis.audit import audit
from gnomon.domain.records import ExecutionQuery
from gnomon.scheduling.timezones import EARLIEST, LATEST
from gnomon.testing import RecordingStore, VirtualClock, make_kernel

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def nothing() -> None:
    pass


async def fires_of(keys: dict[str, Any], *, restarts: int, every: timedelta, start: datetime) -> list[datetime]:
    """Restart a kernel again and again, each time with a job that is made then, and return its fires."""
    clock, store = VirtualClock(start), RecordingStore()
    for _ in range(restarts):
        trigger = keys["trigger"]
        job = Job(id="a", func=nothing, trigger=trigger() if callable(trigger) else trigger, catch_up="all")
        async with make_kernel(job, clock=clock, store=store):
            await clock.advance(every)
    await store.open(read_only=True)
    report = await audit(store, start, clock.now(), decided_until=clock.now())
    assert report.is_proved
    assert not store.recorded.of(Missed)
    return [event.scheduled_time for event in store.recorded.of(Scheduled)]


START = datetime(2026, 1, 1, 10, 30, tzinfo=UTC)


async def test_an_interval_fires_although_each_kernel_lives_shorter_than_it() -> None:
    second = timedelta(seconds=1)
    keys = {"trigger": {"type": "interval", "seconds": 6}}

    found = await fires_of(keys, restarts=9, every=4 * second, start=START)

    assert found == [START + n * 6 * second for n in range(1, 7)]


@pytest.mark.parametrize("made", [{"type": "interval", "days": 1}, lambda: IntervalTrigger(days=1, timezone=UTC)])
async def test_a_daily_interval_fires_in_a_service_that_is_deployed_daily(made: Any) -> None:
    found = await fires_of({"trigger": made}, restarts=14, every=10 * HOUR, start=START)

    assert found == [START + n * DAY for n in range(1, 6)]


@pytest.mark.parametrize(
    "made",
    [{"type": "calendarinterval", "weeks": 1, "hour": 6}, {"type": "calendarinterval", "days": 7, "hour": 6}],
)
async def test_a_calendar_interval_counts_from_the_day_its_job_was_added(made: Any) -> None:
    found = await fires_of({"trigger": made}, restarts=15, every=DAY, start=START)

    assert found == [datetime(2026, 1, 8, 6, tzinfo=UTC), datetime(2026, 1, 15, 6, tzinfo=UTC)]


async def test_a_calendar_interval_does_not_run_for_times_before_its_job_existed() -> None:
    keys = {"trigger": {"type": "calendarinterval", "weeks": 1, "hour": 6, "start_date": "2025-01-02"}}

    found = await fires_of(keys, restarts=2, every=4 * DAY, start=START)

    assert found == [datetime(2026, 1, 8, 6, tzinfo=UTC)]


async def test_a_trigger_object_does_not_run_at_each_restart() -> None:
    def made() -> CalendarIntervalTrigger:
        return CalendarIntervalTrigger(days=1, hour=6, start_date="2025-06-01", timezone=UTC)

    found = await fires_of({"trigger": made}, restarts=6, every=12 * HOUR, start=START)

    assert found == [datetime(2026, 1, day, 6, tzinfo=UTC) for day in (2, 3, 4)]


async def test_jobs_at_the_edges_of_the_calendar_start_and_run() -> None:
    longest = Duration(days=timedelta.max.days)
    jobs = [
        Job(id="never", func=nothing, every=longest),
        Job(id="late", func=nothing, at=EARLIEST),
        Job(id="far", func=nothing, at=LATEST, timeout=longest, grace=longest, silence=longest, cancel_grace=longest),
        Job(id="leap", func=nothing, trigger={"type": "calendarinterval", "years": 9999}),
    ]
    async with make_kernel(*jobs) as kernel:
        clock = kernel.clock
        assert isinstance(clock, VirtualClock)
        await clock.settle()
        views = {view.job.id: view.next_fire for view in await kernel.jobs()}
        ended = await kernel.wait((await kernel.trigger("far")).execution.id)
        late = (await kernel.executions(ExecutionQuery(job_id="late"))).items

    assert views == {"never": None, "late": None, "far": LATEST, "leap": None}
    assert ended.status == "success"
    assert [(one.status, one.scheduled_time) for one in late] == [("success", EARLIEST)]
