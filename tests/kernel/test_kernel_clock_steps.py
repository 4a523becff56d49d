"""A wall clock that is set, that steps by milliseconds, or that goes on while the machine is suspended."""

from datetime import timedelta
from typing import Any

import pytest

from gnomon import Duration, Job, Missed, Started
from gnomon.analysis.audit import audit
from gnomon.analysis.explain import explain
from gnomon.testing import RecordingStore, VirtualClock, check_log, make_kernel

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
YEAR = 365 * DAY
pytestmark = pytest.mark.any_python  # they count fires for a year


async def nothing() -> None:
    pass


def job(**keys: Any) -> Job:
    return Job(id="a", func=nothing, **keys)


async def prove(store: RecordingStore, clock: VirtualClock) -> None:
    """Check the log, and that the audit, which also reads beyond the present, finds one outcome for each fire."""
    check_log(store.recorded, store._executions.values(), store._jobs.values())
    await store.open(read_only=True)
    report = await audit(store, clock.now() - 2 * YEAR, clock.now() + 2 * YEAR)
    assert report.is_proved, report.jobs


def starts(store: RecordingStore) -> int:
    return len(store.recorded.of(Started))


@pytest.mark.parametrize("by", [-HOUR, -7 * SECOND, -300 * DAY])
async def test_an_interval_keeps_its_pace_when_the_clock_is_set_back(by: timedelta) -> None:
    clock, store = VirtualClock(), RecordingStore()
    async with make_kernel(job(every=Duration(minutes=10)), clock=clock, store=store) as kernel:
        await clock.advance(25 * MINUTE)
        await clock.jump(by)
        (view,) = await kernel.jobs()
        assert view.next_fire == clock.now() + 5 * MINUTE
        await clock.advance(5 * MINUTE)
        assert starts(store) == 3
        await clock.advance(HOUR)

    assert starts(store) == 9
    await prove(store, clock)


@pytest.mark.parametrize("ahead", [YEAR, HOUR])
async def test_an_interval_keeps_its_pace_after_a_transient_jump_ahead(ahead: timedelta) -> None:
    clock, store = VirtualClock(), RecordingStore()
    async with make_kernel(job(every=Duration(minutes=10)), clock=clock, store=store):
        await clock.advance(25 * MINUTE)
        await clock.jump(ahead)
        caught_up = starts(store)
        await clock.jump(-ahead)
        await clock.advance(HOUR)

    assert caught_up == 3
    assert starts(store) == 9
    await prove(store, clock)


@pytest.mark.parametrize("ahead", [YEAR, HOUR])
async def test_an_interval_recovers_from_a_fire_in_the_future_at_a_restart(ahead: timedelta) -> None:
    clock, store = VirtualClock(), RecordingStore()
    async with make_kernel(job(every=Duration(minutes=10)), clock=clock, store=store):
        await clock.advance(25 * MINUTE)
        await clock.jump(ahead)
    await clock.jump(-ahead)
    for lives in (1, 2):
        async with make_kernel(job(every=Duration(minutes=10)), clock=clock, store=store) as kernel:
            assert lives == 2 or "behind the newest event of the log" in kernel.health().problems["clock"]
            await clock.advance(HOUR)
            assert starts(store) == 3 + 6 * lives

    await prove(store, clock)


async def test_an_interval_whose_schedule_changes_after_a_jump_ahead_goes_on() -> None:
    clock, store = VirtualClock(), RecordingStore()
    async with make_kernel(job(every=Duration(minutes=10)), clock=clock, store=store) as kernel:
        await clock.jump(YEAR)
        await clock.jump(-YEAR)
        await kernel.apply_jobs([job(every=Duration(minutes=5))])
        await clock.advance(HOUR)

    assert starts(store) == 1 + 12
    await prove(store, clock)


async def test_a_cron_job_does_not_fire_a_second_time_and_explain_says_until_when() -> None:
    clock, store = VirtualClock(), RecordingStore()
    async with make_kernel(job(cron="*/10 * * * *"), clock=clock, store=store):
        await clock.advance(25 * MINUTE)
        await clock.jump(-HOUR)
        await clock.advance(45 * MINUTE)
        assert starts(store) == 2
        found = await explain(store, "a", None, clock.now())
        await clock.advance(30 * MINUTE)

    assert starts(store) == 4
    (advice,) = (sentence for sentence in found.sentences if "the clock was set back" in sentence)
    assert "until the clock passes" in advice
    await prove(store, clock)


async def test_a_jump_of_the_clock_is_reported_for_some_minutes() -> None:
    clock = VirtualClock()
    async with make_kernel(job(every=Duration(minutes=10)), clock=clock) as kernel:
        await clock.jump(timedelta(seconds=4))
        assert "clock" not in kernel.health().problems

        await clock.jump(2 * HOUR)
        assert (
            kernel.health().problems["clock"].startswith("the clock was set forward by 2 h 00 m at 2026-01-01 02:00:04")
        )

        await clock.advance(11 * MINUTE)
        assert "clock" not in kernel.health().problems


@pytest.mark.parametrize(
    ("policy", "runs", "missed"), [("latest", 1, 7), ("all", 8, 0), ("none", 0, 8)], ids=["latest", "all", "none"]
)
@pytest.mark.parametrize("keys", [{"cron": "*/10 * * * *"}, {"every": Duration(minutes=10)}])
async def test_a_suspended_machine_is_a_late_kernel(keys: dict[str, Any], policy: str, runs: int, missed: int) -> None:
    clock, store = VirtualClock(), RecordingStore()
    async with make_kernel(job(catch_up=policy, overlap="queue", **keys), clock=clock, store=store):
        await clock.advance(5 * MINUTE)
        await clock.jump(78 * MINUTE)  # the wall clock goes on, the monotonic clock stands still
        await clock.advance(SECOND)
        suspended = starts(store), sum(event.count for event in store.recorded.of(Missed))
        await clock.advance(10 * MINUTE)

    assert suspended == (runs, missed)
    assert starts(store) == runs + 1
    await prove(store, clock)
