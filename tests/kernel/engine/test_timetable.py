import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon.domain.job_state import JobState
from gnomon.engine.timetable import CHUNK_JOBS, SLICE_FIRES, DueFires, Timetable
from gnomon.jobs.job import Job
from gnomon.scheduling.catch_up import Absence
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.foreign_triggers import adopt_trigger
from gnomon.scheduling.triggers import AnchoredTrigger, AtTrigger, EveryTrigger, Trigger
from gnomon.testing.clock import START, VirtualClock

HOUR, MINUTE, MILLISECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(milliseconds=1)


def run() -> None: ...


class BrokenTrigger:
    def __init__(self, good: int, error: BaseException) -> None:
        self.left, self.error = good, error

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return (previous_fire_time or START) + HOUR


class Desk:
    """Takes what the timetable dispatches, and does not go on while `gate` is closed."""

    def __init__(self) -> None:
        self.chunks: list[list[DueFires]] = []
        self.leading: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def dispatch(self, chunk: Sequence[DueFires], *, leads: bool) -> None:
        self.chunks.append(list(chunk))
        self.leading += [len(chunk)] if leads else []
        await self.gate.wait()

    def runs(self, job_id: str) -> list[datetime]:
        return [fire for due in self.of(job_id) for fire in due.run]

    def of(self, job_id: str) -> list[DueFires]:
        return [due for chunk in self.chunks for due in chunk if due.job.id == job_id]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def timetable(desk: Desk, gnomon_clock: VirtualClock) -> AsyncIterator[Timetable]:
    timetable = Timetable(gnomon_clock, desk.dispatch)
    task = asyncio.create_task(timetable.run())
    yield timetable
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def put(
    timetable: Timetable, job_id: str, trigger: Trigger, last_fire: datetime | None = None, **policies: Any
) -> None:
    absence = policies.pop("absence", None)
    state = JobState(job_id=job_id, anchor=START, last_fire=last_fire, newest_fire=last_fire)
    timetable.schedule(Job(id=job_id, func=run, **policies), adopt_trigger(trigger, UTC), state, absence)


async def test_jobs_are_dispatched_when_they_are_due(
    timetable: Timetable, desk: Desk, gnomon_clock: VirtualClock
) -> None:
    put(timetable, "hourly", EveryTrigger(HOUR))
    put(timetable, "once", AtTrigger(START + 2 * HOUR, UTC))

    await gnomon_clock.advance(3 * HOUR)

    assert desk.runs("hourly") == [START + n * HOUR for n in (1, 2, 3)]
    assert desk.runs("once") == [START + 2 * HOUR]
    assert (timetable.next_fire("hourly"), timetable.next_fire("once")) == (START + 4 * HOUR, None)


async def test_a_job_that_was_taken_out_is_not_due_any_more(
    timetable: Timetable, desk: Desk, gnomon_clock: VirtualClock
) -> None:
    put(timetable, "hourly", EveryTrigger(HOUR))
    await gnomon_clock.advance(HOUR)

    timetable.remove("hourly")
    timetable.remove("nobody")
    await gnomon_clock.advance(5 * HOUR)

    assert desk.runs("hourly") == [START + HOUR]
    assert timetable.next_fire("hourly") is None


async def test_a_job_that_is_put_in_again_goes_by_its_new_trigger_only(
    timetable: Timetable, desk: Desk, gnomon_clock: VirtualClock
) -> None:
    put(timetable, "job", EveryTrigger(HOUR))
    put(timetable, "job", EveryTrigger(2 * HOUR))

    await gnomon_clock.advance(4 * HOUR)

    assert desk.runs("job") == [START + 2 * HOUR, START + 4 * HOUR]


async def test_fires_after_the_last_one_in_the_log_are_due(
    timetable: Timetable, desk: Desk, gnomon_clock: VirtualClock
) -> None:
    await gnomon_clock.advance(3 * HOUR)

    put(timetable, "job", EveryTrigger(HOUR), START + HOUR, absence=Absence(down_until=START + 3 * HOUR))
    await gnomon_clock.settle()

    (due,) = desk.of("job")
    assert list(due.run) == [START + 3 * HOUR]
    assert [(one.reason, one.last) for one in due.missed] == [("downtime", START + 2 * HOUR)]
    assert due.is_backlog


async def test_many_jobs_at_one_instant_come_in_chunks_of_which_the_first_is_small(
    timetable: Timetable, desk: Desk, gnomon_clock: VirtualClock
) -> None:
    for n in range(2 * CHUNK_JOBS + 1):
        put(timetable, f"job{n}", AtTrigger(START + HOUR, UTC))

    await gnomon_clock.advance(HOUR)

    assert [len(chunk) for chunk in desk.chunks] == [
        16,
        32,
        64,
        CHUNK_JOBS,
        2 * CHUNK_JOBS + 1 - 16 - 32 - 64 - CHUNK_JOBS,
    ]
    assert desk.leading == [16]


async def test_few_jobs_at_one_instant_lead_no_burst(
    timetable: Timetable, desk: Desk, gnomon_clock: VirtualClock
) -> None:
    for n in range(3):
        put(timetable, f"job{n}", AtTrigger(START + HOUR, UTC))

    await gnomon_clock.advance(HOUR)

    assert [len(chunk) for chunk in desk.chunks] == [3]
    assert desk.leading == []


async def test_a_long_backlog_that_all_runs_comes_in_slices(
    timetable: Timetable, desk: Desk, gnomon_clock: VirtualClock
) -> None:
    await gnomon_clock.advance((SLICE_FIRES + 1) * HOUR)

    put(timetable, "job", EveryTrigger(HOUR), START, catch_up="all")
    await gnomon_clock.settle()

    assert [len(due.run) for due in desk.of("job")] == [SLICE_FIRES, 1]
    assert [due.is_backlog for due in desk.of("job")] == [True, True]


async def test_the_fire_after_a_backlog_is_an_ordinary_one(
    timetable: Timetable, desk: Desk, gnomon_clock: VirtualClock
) -> None:
    await gnomon_clock.advance(SLICE_FIRES * HOUR)
    put(timetable, "job", EveryTrigger(HOUR), START, catch_up="all")

    await gnomon_clock.advance(HOUR)

    assert [due.is_backlog for due in desk.of("job")] == [True, False]


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
@pytest.mark.parametrize("good", [0, 1, 2])
async def test_a_trigger_that_fails_takes_only_its_own_job_out(
    timetable: Timetable, desk: Desk, gnomon_clock: VirtualClock, good: int, error: type[BaseException]
) -> None:
    with capture_logs() as logs:
        put(timetable, "broken", BrokenTrigger(good, error("no more")))
        put(timetable, "hourly", EveryTrigger(HOUR))
        await gnomon_clock.advance(4 * HOUR)

    assert len(desk.runs("hourly")) == 4
    assert [(line["job"], line["log_level"]) for line in logs] == [("broken", "error")]
    assert timetable.next_fire("broken") is None


async def test_a_fire_is_not_slept_past_when_the_clock_jumps(
    timetable: Timetable, desk: Desk, gnomon_clock: VirtualClock
) -> None:
    put(timetable, "daily", EveryTrigger(timedelta(days=1)))
    await gnomon_clock.settle()

    await gnomon_clock.jump(timedelta(days=1))

    assert desk.runs("daily") == [START + timedelta(days=1)]


async def test_a_clock_that_goes_back_brings_no_fire_twice(
    timetable: Timetable, desk: Desk, gnomon_clock: VirtualClock
) -> None:
    put(timetable, "hourly", CronTrigger("0 * * * *", UTC))
    put(timetable, "steady", EveryTrigger(HOUR))
    await gnomon_clock.advance(2 * HOUR)

    await gnomon_clock.jump(-2 * HOUR)
    await gnomon_clock.advance(3 * HOUR)

    assert desk.runs("hourly") == [START + n * HOUR for n in (1, 2, 3)]
    assert desk.runs("steady") == [START + n * HOUR for n in (1, 2, 3, 4, 5)]  # an hour has passed between each


async def test_whoever_waits_until_it_is_idle_waits_for_what_is_being_dispatched(
    timetable: Timetable, desk: Desk, gnomon_clock: VirtualClock
) -> None:
    desk.gate.clear()
    put(timetable, "hourly", EveryTrigger(HOUR))
    gnomon_clock.is_idle = lambda: True
    await gnomon_clock.advance(HOUR)

    waiting = asyncio.create_task(timetable.idle())
    await gnomon_clock.settle()
    assert not waiting.done()
    desk.gate.set()
    await waiting

    assert timetable.is_idle


async def test_a_job_that_fires_faster_than_it_is_decided_lets_an_order_have_its_turn(
    gnomon_clock: VirtualClock, desk: Desk
) -> None:
    async def dispatch_slowly(chunk: Sequence[DueFires], *, leads: bool) -> None:
        await desk.dispatch(chunk, leads=leads)
        await gnomon_clock.jump(3 * MILLISECOND)

    timetable = Timetable(gnomon_clock, dispatch_slowly)
    put(timetable, "fast", EveryTrigger(MILLISECOND))
    task = asyncio.create_task(timetable.run())
    await gnomon_clock.jump(MILLISECOND)
    async with asyncio.timeout(10):
        await timetable.idle()
    timetable.remove("fast")
    task.cancel()

    assert desk.runs("fast")[0] == START + MILLISECOND
    assert gnomon_clock.now() - START < MINUTE


async def test_a_timetable_that_does_not_run_keeps_nobody_waiting(desk: Desk, gnomon_clock: VirtualClock) -> None:
    timetable = Timetable(gnomon_clock, desk.dispatch)
    put(timetable, "late", AtTrigger(START - HOUR, UTC))

    await timetable.idle()

    assert desk.chunks == []


@pytest.mark.parametrize("trigger", [CronTrigger("* * * * *", UTC), EveryTrigger(MINUTE)], ids=["cron", "every"])
async def test_a_clock_that_steps_by_milliseconds_at_the_minute_loses_and_doubles_no_fire(
    timetable: Timetable, desk: Desk, gnomon_clock: VirtualClock, trigger: AnchoredTrigger
) -> None:
    early = 2 * MILLISECOND
    put(timetable, "a", trigger)
    await gnomon_clock.advance(MINUTE - early)
    for minute in range(1440):
        step = (5, -5, -4)[minute % 3] * MILLISECOND
        await gnomon_clock.jump(step)
        await gnomon_clock.advance(early)
        await gnomon_clock.jump(-step)
        await gnomon_clock.advance(MINUTE - early)

    assert desk.runs("a") == [START + n * MINUTE for n in range(1, 1441)]
    assert not any(due.missed for due in desk.of("a"))
