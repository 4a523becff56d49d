"""When jobs run, and the outcomes of fires that do not: on the virtual clock, from the first event to the views."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger as ForeignCron
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from gnomon import Duration, Job, Kernel, Missed, Scheduled, Started, Succeeded
from gnomon.domain import events
from gnomon.testing import EventList, VirtualClock
from gnomon.testing.clock import START

Make = Callable[..., Kernel]
Body = Callable[[], Awaitable[None]]
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


async def quick() -> None: ...


def job(body: Callable[..., Any] = quick, **policies: Any) -> Job:
    keys: dict[str, Any] = {"id": "job", "func": body, **policies}
    return Job(**keys)


@pytest.fixture
def slow(gnomon_clock: VirtualClock) -> Body:
    async def body() -> None:
        await gnomon_clock.sleep(90)

    return body


def scheduled(log: EventList, job_id: str = "job") -> list[datetime]:
    return [event.scheduled_time for event in log.of(Scheduled, job_id)]


def missed(log: EventList, job_id: str = "job") -> list[tuple[str, int]]:
    return [(event.reason, event.count) for event in log.of(Missed, job_id)]


# --- schedules


async def test_an_hourly_job_runs_for_a_month(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(cron="0 * * * *")):
        await gnomon_clock.advance(30 * DAY)

    assert scheduled(gnomon_events) == [START + n * HOUR for n in range(1, 721)]
    assert len(gnomon_events.of(Succeeded)) == 720
    assert {event.delay for event in gnomon_events.of(Started)} == {0.0}
    assert missed(gnomon_events) == []


@pytest.mark.parametrize(
    ("schedule", "hours"),
    [
        ({"cron": "0 */6 * * *"}, [6, 12, 18, 24]),
        ({"cron": "0 9 * * *", "timezone": "Asia/Shanghai"}, [1]),
        ({"every": Duration(hours=5)}, [5, 10, 15, 20]),
        ({"at": START + 7 * HOUR}, [7]),
        ({"at": datetime(2026, 1, 1, 9), "timezone": "Asia/Shanghai"}, [1]),  # noqa: DTZ001 - a wall time of the zone
        ({"trigger": {"type": "interval", "hours": 8, "start_date": "2026-01-01T00:00:00Z"}}, [8, 16, 24]),
        ({"trigger": IntervalTrigger(hours=8, start_date=START, timezone=UTC)}, [8, 16, 24]),
        ({"trigger": DateTrigger(START + 3 * HOUR)}, [3]),
        ({"trigger": CalendarIntervalTrigger(days=1, hour=4, start_date=START.date(), timezone=UTC)}, [4]),
        ({"trigger": ForeignCron(hour="*/9", timezone=UTC)}, [9, 18, 24]),
        ({"trigger": OrTrigger([DateTrigger(START + 2 * HOUR), ForeignCron(hour=20, timezone=UTC)])}, [2, 20]),
        ({}, []),
    ],
    ids=str,
)
async def test_each_kind_of_schedule_fires_at_its_times(
    gnomon_kernel: Make,
    gnomon_clock: VirtualClock,
    gnomon_events: EventList,
    schedule: dict[str, Any],
    hours: list[int],
) -> None:
    async with gnomon_kernel(job(**schedule)):
        await gnomon_clock.advance(DAY)

    assert scheduled(gnomon_events) == [START + hour * HOUR for hour in hours]
    assert len(gnomon_events.of(Succeeded)) == len(hours)


async def test_a_job_whose_only_time_has_just_gone_by_runs_late(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel() as kernel:
        now = gnomon_clock.now()
        await gnomon_clock.advance(1)
        await kernel.add_job(job(at=now))
        await gnomon_clock.settle()

    assert scheduled(gnomon_events) == [now]
    assert gnomon_events.of(Started)[0].delay == 1.0


async def test_a_job_that_is_removed_and_comes_back_does_not_repeat_its_only_time(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    once = job(at=START + HOUR)
    async with gnomon_kernel(once) as kernel:
        await gnomon_clock.advance(2 * HOUR)
        await kernel.apply_jobs([])
        await kernel.apply_jobs([once])
        await gnomon_clock.advance(HOUR)

        assert kernel.health().state == "healthy"
    assert scheduled(gnomon_events) == [START + HOUR]


# --- late fires


@pytest.mark.parametrize(
    ("policies", "late", "runs", "misses"),
    [
        ({}, 3.5, [3], [("late", 2)]),
        ({"catch_up": "latest", "grace": Duration(minutes=20)}, 3.5, [], [("late", 3)]),
        ({"catch_up": "latest", "grace": Duration(minutes=40)}, 3.5, [3], [("late", 2)]),
        ({"catch_up": "all"}, 3.5, [1, 2, 3], []),
        ({"catch_up": "all", "grace": Duration(minutes=100)}, 3.5, [2, 3], [("late", 1)]),
        ({"catch_up": "none"}, 3.5, [], [("late", 3)]),
        ({"catch_up": "none"}, 3.001, [3], [("late", 2)]),
        ({"catch_up": "none", "grace": Duration(minutes=40)}, 3.5, [3], [("late", 2)]),
    ],
    ids=str,
)
async def test_late_fires_have_the_outcome_that_their_policy_gives(
    gnomon_kernel: Make,
    gnomon_clock: VirtualClock,
    gnomon_events: EventList,
    policies: dict[str, Any],
    late: float,
    runs: list[int],
    misses: list[tuple[str, int]],
) -> None:
    async with gnomon_kernel(job(every=Duration(hours=1), **policies)):
        await gnomon_clock.settle()
        await gnomon_clock.jump(late * HOUR)  # as when the machine slept

    assert scheduled(gnomon_events) == [START + n * HOUR for n in runs]
    assert missed(gnomon_events) == misses
    assert len(gnomon_events.of(Succeeded)) == len(runs)


async def test_a_folded_range_names_its_first_and_its_last_fire(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(every=Duration(hours=1))):
        await gnomon_clock.settle()
        await gnomon_clock.jump(100 * HOUR)

    (range_,) = gnomon_events.of(Missed)
    assert (range_.first, range_.last, range_.count) == (START + HOUR, START + 99 * HOUR, 99)
    assert range_.scheduled_time == range_.last
    assert "later than catch_up and grace allow" in (range_.detail or "")


@pytest.mark.parametrize(
    ("keys", "last"),
    [({"cron": "0 * * * *"}, 5), ({"every": Duration(hours=1)}, 7)],
    ids=["cron waits for the clock", "an interval keeps its pace"],
)
async def test_a_clock_that_is_set_back_brings_no_fire_twice_and_loses_none(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, keys: dict[str, Any], last: int
) -> None:
    async with gnomon_kernel(job(**keys)):
        await gnomon_clock.advance(3 * HOUR)
        await gnomon_clock.jump(-2 * HOUR)
        await gnomon_clock.advance(4 * HOUR)

    assert scheduled(gnomon_events) == [START + n * HOUR for n in range(1, last + 1)]
    assert missed(gnomon_events) == []


async def test_a_schedule_that_is_changed_after_the_clock_was_set_back_brings_no_fire_twice(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(cron="0 * * * *")) as kernel:
        await gnomon_clock.advance(3 * HOUR)
        await gnomon_clock.jump(-2 * HOUR)
        await kernel.apply_jobs([job(cron="0,30 * * * *")])
        await gnomon_clock.advance(3 * HOUR)

        assert kernel.health().state == "healthy"
    assert scheduled(gnomon_events)[3:] == [START + 3.5 * HOUR, START + 4 * HOUR]


# --- pauses


@pytest.mark.parametrize(
    ("catch_up", "runs", "misses"),
    [("latest", [1, 5, 6], [("paused", 3)]), ("all", [1, 2, 3, 4, 5, 6], []), ("none", [1, 6], [("paused", 4)])],
)
async def test_what_fell_into_a_pause_is_decided_when_it_ends(
    gnomon_kernel: Make,
    gnomon_clock: VirtualClock,
    gnomon_events: EventList,
    catch_up: str,
    runs: list[int],
    misses: list[tuple[str, int]],
) -> None:
    async with gnomon_kernel(job(every=Duration(hours=1), catch_up=catch_up)) as kernel:
        await gnomon_clock.advance(1.5 * HOUR)
        assert await kernel.pause("job", actor="ann", reason="holidays")
        assert not await kernel.pause("job")
        view = await kernel.job("job")
        assert (view.next_fire, view.state.paused_by, view.state.paused_reason) == (None, "ann", "holidays")
        await gnomon_clock.advance(4 * HOUR)
        assert scheduled(gnomon_events) == [START + HOUR]

        assert await kernel.resume("job")
        assert not await kernel.resume("job")
        await gnomon_clock.advance(HOUR)

    assert scheduled(gnomon_events) == [START + n * HOUR for n in runs]
    assert missed(gnomon_events) == misses


async def test_a_job_that_is_defined_as_paused_waits_until_it_is_resumed(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(every=Duration(hours=1), paused=True)) as kernel:
        await gnomon_clock.advance(DAY)
        assert scheduled(gnomon_events) == []

        await kernel.resume("job")
        await gnomon_clock.advance(HOUR)

    assert len(scheduled(gnomon_events)) == 2


@pytest.mark.parametrize("ending", ["removed", "changed", "reloaded"])
async def test_a_paused_job_whose_schedule_goes_away_leaves_no_fire_without_an_outcome(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, ending: str
) -> None:
    trigger = IntervalTrigger(hours=1, start_date=START, timezone=UTC)  # the log knows no more of it than its name
    async with gnomon_kernel(job(trigger=trigger)) as kernel:
        await gnomon_clock.advance(1.5 * HOUR)
        await kernel.pause("job")
        await gnomon_clock.advance(4 * HOUR)

        if ending == "removed":
            await kernel.apply_jobs([])
        elif ending == "changed":
            await kernel.apply_jobs([job(every=Duration(days=9))])
        else:
            await kernel.apply_jobs([job(id="other")])

    assert missed(gnomon_events) == [("paused", 4)]


# --- overlap, with bodies that take 90 seconds and fires every minute


@pytest.mark.parametrize(
    ("policies", "outcomes"),
    [
        ({"overlap": "skip"}, {"succeeded": 3, "missed": 2}),
        ({"overlap": "queue"}, {"succeeded": 4, "missed": 1}),
        ({"overlap": "queue", "catch_up": "all"}, {"succeeded": 5}),
        ({"overlap": "cancel_previous"}, {"succeeded": 1, "cancelled": 4}),
        ({"overlap": "allow"}, {"succeeded": 5}),
        ({"overlap": "allow", "max_instances": 1}, {"succeeded": 3, "missed": 2}),
    ],
    ids=str,
)
async def test_a_fire_during_a_run_is_treated_by_the_overlap_policy(
    gnomon_kernel: Make,
    gnomon_clock: VirtualClock,
    gnomon_events: EventList,
    slow: Body,
    policies: dict[str, Any],
    outcomes: dict[str, int],
) -> None:
    async with gnomon_kernel(job(slow, every=Duration(minutes=1), **policies)) as kernel:
        await gnomon_clock.advance(5 * MINUTE + SECOND)
        await kernel.pause("job")
        await gnomon_clock.advance(HOUR)

    ends = [event.type for event in gnomon_events if event.type in {"succeeded", "missed", "cancelled", "failed"}]
    assert {word: ends.count(word) for word in ends} == outcomes
    assert {event.reason for event in gnomon_events.of(Missed)} <= {"overlap"}


async def test_a_run_that_is_replaced_in_the_queue_names_the_newer_fire(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    async with gnomon_kernel(job(slow, every=Duration(seconds=30), overlap="queue")):
        await gnomon_clock.advance(95)

    (overtaken,) = gnomon_events.of(Missed)
    assert (overtaken.version, overtaken.reason) == (2, "overlap")
    assert overtaken.detail == "replaced in the queue by the fire of 2026-01-01 00:01:30 UTC"


async def test_max_running_holds_over_all_jobs_and_they_take_turns(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    jobs = [job(slow, id=f"job{n}", at=START + MINUTE) for n in range(5)]
    async with gnomon_kernel(*jobs, max_running=2) as kernel:
        await gnomon_clock.advance(MINUTE)
        assert (kernel.health().running, kernel.health().waiting) == (2, 3)

        await gnomon_clock.advance(5 * MINUTE)

    started = [(event.job_id, event.delay) for event in gnomon_events.of(Started)]
    assert started == [("job0", 0.0), ("job1", 0.0), ("job2", 90.0), ("job3", 90.0), ("job4", 180.0)]


async def test_a_fire_that_waits_longer_than_its_grace_does_not_run(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    busy = job(slow, id="busy", at=START + MINUTE)
    hurried = job(slow, id="hurried", at=START + MINUTE, grace=Duration(minutes=1))
    async with gnomon_kernel(busy, hurried, max_running=1):
        await gnomon_clock.advance(10 * MINUTE)

    assert missed(gnomon_events, "hurried") == [("capacity", 1)]


async def test_fifty_jobs_at_one_instant_all_start(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    jobs = [job(id=f"job{n}", at=START + MINUTE) for n in range(1000)]
    async with gnomon_kernel(*jobs, max_running=7):
        await gnomon_clock.advance(MINUTE)

    assert len(gnomon_events.of(Succeeded)) == 1000


# --- definitions that change while the kernel runs


async def test_a_new_schedule_counts_from_the_change_on(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(every=Duration(hours=1))) as kernel:
        await gnomon_clock.advance(1.5 * HOUR)

        found = await kernel.apply_jobs([job(every=Duration(hours=2))], actor="ann")
        await gnomon_clock.advance(4 * HOUR)

    assert list(found.changed) == ["job"]
    assert scheduled(gnomon_events) == [START + n * HOUR for n in (1, 3.5, 5.5)]


async def test_a_change_that_leaves_the_schedule_alone_leaves_the_fires_alone(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(every=Duration(hours=1))) as kernel:
        await gnomon_clock.advance(1.5 * HOUR)

        await kernel.apply_jobs([job(every=Duration(hours=1), name="A better name")])
        await gnomon_clock.advance(HOUR)

    assert scheduled(gnomon_events) == [START + HOUR, START + 2 * HOUR]
    assert gnomon_events.of(events.JobChanged)[0].changes == {"name": "A better name"}


async def test_a_reload_adds_changes_and_removes(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(id="stays", cron="0 * * * *"), job(id="goes", cron="0 * * * *")) as kernel:
        found = await kernel.apply_jobs([job(id="stays", cron="0 * * * *"), job(id="comes", cron="0 * * * *")])
        await gnomon_clock.advance(HOUR)

        assert [view.job.id for view in await kernel.jobs()] == ["comes", "stays"]
    assert (found.added, found.changed, found.removed) == (["comes"], {}, ["goes"])
    assert sorted(event.job_id for event in gnomon_events.of(Succeeded)) == ["comes", "stays"]


async def test_what_waits_of_a_job_that_is_removed_is_cancelled_and_what_runs_goes_on(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    async with gnomon_kernel(job(slow, every=Duration(minutes=1), overlap="queue")) as kernel:
        await gnomon_clock.advance(2 * MINUTE)

        await kernel.apply_jobs([], actor="ann")
        await gnomon_clock.advance(HOUR)

    assert [event.actor for event in gnomon_events.of(events.Cancelled)] == ["ann"]
    assert len(gnomon_events.of(Succeeded)) == 1
    assert len(scheduled(gnomon_events)) == 2
