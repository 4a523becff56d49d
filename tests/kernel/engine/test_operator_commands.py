"""Operators skip single fires, hold the whole kernel, and act on many jobs and runs at once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gnomon import Job, Kernel, Missed, Scheduled
from gnomon.analysis.audit import audit
from gnomon.analysis.upcoming import upcoming
from gnomon.domain.bulk_acts import ActOutcome, JobSelection, RunSelection
from gnomon.domain.records import ActionQuery
from gnomon.errors import JobError, UnknownJobError
from gnomon.jobs.registered import register_job
from gnomon.scheduling.exclusions import asked_instant
from gnomon.testing import EventList, RecordingStore, VirtualClock, check_store, make_kernel
from gnomon.testing.clock import START

Make = Callable[..., Kernel]
HOUR = timedelta(hours=1)


async def quick() -> None: ...


def job(job_id: str = "job", **policies: Any) -> Job:
    keys: dict[str, Any] = {"id": job_id, "func": quick, **policies}
    return register_job(Job(**keys), "UTC").job


@pytest.fixture
def store(gnomon_events: EventList) -> RecordingStore:
    return RecordingStore(gnomon_events)


@pytest.fixture
def make(store: RecordingStore, gnomon_clock: VirtualClock) -> Make:
    return partial(make_kernel, store=store, clock=gnomon_clock)


def hours(fires: list[datetime]) -> list[float]:
    return [(fire - START) / HOUR for fire in fires]


def ran(log: EventList, job_id: str | None = None) -> list[float]:
    return hours([event.scheduled_time for event in log.of(Scheduled, job_id)])


def missed(log: EventList) -> list[tuple[float, str, int]]:
    return [((event.scheduled_time - START) / HOUR, event.reason, event.count) for event in log.of(Missed)]


async def prove(store: RecordingStore, clock: VirtualClock) -> None:
    async with store:
        report = await audit(store, START, clock.now())
        await check_store(store)
    assert [one.findings for one in report.jobs] == [[]] * len(report.jobs)


# --- skip


@pytest.mark.parametrize("keys", [{"every": "1h"}, {"cron": "0 * * * *"}, {"every": "1h", "jitter": "1ms"}])
async def test_a_skipped_fire_is_missed_when_it_is_due_also_after_a_restart(
    make: Make, store: RecordingStore, gnomon_clock: VirtualClock, gnomon_events: EventList, keys: dict[str, Any]
) -> None:
    hourly = job(**keys)
    async with make(hourly) as kernel:
        assert await kernel.skip("job", actor="ann", reason="disk full") == START + HOUR
        assert await kernel.skip("job", START + 3 * HOUR, actor="ann") == START + 3 * HOUR
        view = await kernel.job("job")
        assert view.next_fire == START + 2 * HOUR
        assert hours(upcoming(hourly, view.state, gnomon_clock.now(), 3).fires) == [2, 4, 5]
        await gnomon_clock.advance(1.5 * HOUR)
    async with make(hourly) as kernel:
        await gnomon_clock.advance(3 * HOUR)
        await kernel.skip("job", undo=True)

    assert ran(gnomon_events) == [2, 4]
    assert missed(gnomon_events) == [(1, "skipped", 1), (3, "skipped", 1)]
    assert [(event.actor, event.detail) for event in gnomon_events.of(Missed)] == [
        ("ann", "skipped by ann: disk full"),
        ("ann", "skipped by ann"),
    ]
    await prove(store, gnomon_clock)


async def test_a_skip_can_be_withdrawn_and_is_in_the_history(
    make: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with make(job(every="1h")) as kernel:
        await kernel.skip("job", actor="ann")
        await kernel.skip("job", START + HOUR, actor="ann")  # once more: nothing changes
        await kernel.skip("job", undo=True, actor="bob", reason="sorry")
        await gnomon_clock.advance(1.5 * HOUR)
        actions = (await kernel.actions(ActionQuery())).items

    assert ran(gnomon_events) == [1]
    assert [(one.actor, one.action, one.detail) for one in actions] == [
        ("bob", "unskip", "the fire of 2026-01-01 01:00:00 UTC: sorry"),
        ("ann", "skip", "the fire of 2026-01-01 01:00:00 UTC"),
    ]


async def test_a_time_that_is_not_a_fire_to_come_cannot_be_skipped(make: Make, gnomon_clock: VirtualClock) -> None:
    async with make(job(every="1h"), job("manual")) as kernel:
        await gnomon_clock.advance(1.5 * HOUR)
        with pytest.raises(
            JobError, match=r"no fire to come at 2026-01-01 02:30:00\+00:00; the next ones are 2026-01-01 02"
        ):
            await kernel.skip("job", START + 2.5 * HOUR)
        with pytest.raises(JobError, match="no fire to come at 2026-01-01 01:00:00"):
            await kernel.skip("job", START + HOUR)
        with pytest.raises(JobError, match="has no schedule"):
            await kernel.skip("manual")
        assert await kernel.skip("job", undo=True) == START + 2 * HOUR  # nothing to undo
        with pytest.raises(UnknownJobError):
            await kernel.skip("jab")


async def test_a_skip_of_the_newest_fire_of_a_downtime_runs_nothing(
    make: Make, store: RecordingStore, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    hourly = job(every="1h")
    async with make(hourly) as kernel:
        await kernel.skip("job", START + 3 * HOUR)
    await gnomon_clock.advance(3.5 * HOUR)
    async with make(hourly):
        await gnomon_clock.advance(0.1 * HOUR)

    assert ran(gnomon_events) == []
    assert missed(gnomon_events) == [(2, "downtime", 2), (3, "skipped", 1)]
    await prove(store, gnomon_clock)


# --- hold


async def test_a_held_kernel_fires_nothing_until_it_is_released_also_after_restarts(
    make: Make, store: RecordingStore, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    jobs = job("latest", every="1h"), job("none", every="1h", catch_up="none"), job("paused", every="1h", paused=True)
    async with make(*jobs) as kernel:
        await gnomon_clock.advance(1.5 * HOUR)
        assert await kernel.hold(actor="ann", reason="migration") is True
        assert await kernel.hold(actor="bob") is False
        await kernel.add_job(job("added", every="30m"), temporary=True)
        await gnomon_clock.advance(HOUR)
        await kernel.remove_job("added")
        assert kernel.health().problems["hold"] == (
            "no job fires: the kernel is held since 2026-01-01 01:30 UTC by ann (migration)"
        )
        await kernel.resume("paused")
        assert (await kernel.job("latest")).next_fire is None
    for _ in range(2):
        async with make(*jobs, job("starts", at_start=True)) as kernel:
            assert "migration" in kernel.health().problems["hold"]
            await gnomon_clock.advance(HOUR)
    async with make(*jobs) as kernel:
        assert await kernel.release(actor="bob", reason="done") is True
        assert await kernel.release() is False
        assert kernel.health().problems == {}
        await gnomon_clock.advance(HOUR)
        actions = (await kernel.actions(ActionQuery())).items

    assert ran(gnomon_events, "latest") == [1, 4, 5]
    assert ran(gnomon_events, "none") == [1, 5]
    assert ran(gnomon_events, "starts") == ran(gnomon_events, "added") == []
    assert ((3, "held", 2)) in missed(gnomon_events)
    assert ((4, "held", 3)) in missed(gnomon_events)
    assert [(one.actor, one.action, one.detail) for one in actions if one.action in {"hold", "release"}] == [
        ("bob", "release", "done"),
        ("ann", "hold", "migration"),
    ]
    await prove(store, gnomon_clock)


@pytest.mark.parametrize("how", ["gone", "changed", "ordered"])
async def test_the_fires_of_a_job_that_ends_during_a_hold_were_held(
    make: Make, store: RecordingStore, gnomon_clock: VirtualClock, gnomon_events: EventList, how: str
) -> None:
    async with make(job(every="1h"), job("other", every="1d")) as kernel:
        await gnomon_clock.advance(1.5 * HOUR)
        await kernel.hold(actor="ann", reason="migration")
        await gnomon_clock.advance(2 * HOUR)
        if how == "ordered":
            await kernel.apply_jobs([job("other", every="1d")])
    changed = [job(cron="0 0 * * *")] if how == "changed" else []
    async with make(*changed, job("other", every="1d")) as kernel:
        await gnomon_clock.advance(HOUR)

    assert missed(gnomon_events) == [(3, "held", 2)]
    assert [event.detail for event in gnomon_events.of(Missed)] == ["the kernel was held"]
    await prove(store, gnomon_clock)


async def test_the_fires_of_a_job_that_is_gone_after_a_downtime_were_missed_by_it(
    make: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with make(job(every="1h"), job("other", every="1d")):
        await gnomon_clock.advance(1.5 * HOUR)
    await gnomon_clock.advance(HOUR)
    async with make(job("other", every="1d")):
        pass

    assert missed(gnomon_events) == [(2, "downtime", 1)]


async def test_a_held_kernel_runs_what_operators_trigger(make: Make, gnomon_events: EventList) -> None:
    async with make(job(every="1h")) as kernel:
        await kernel.hold()
        triggered = await kernel.trigger("job")
        assert (await kernel.wait(triggered.execution.id)).status == "success"


# --- many at once


async def test_jobs_are_paused_and_resumed_by_tag_and_by_text(make: Make) -> None:
    jobs = [job("a1", tags=["red"]), job("a2", tags=["red", "blue"], name="Nightly"), job("b", tags=["blue"])]
    async with make(*jobs) as kernel:
        assert await kernel.pause_jobs(JobSelection(tag="red"), actor="ann") == [
            ActOutcome(id="a1", changed=True),
            ActOutcome(id="a2", changed=True),
        ]
        assert await kernel.resume_jobs(JobSelection(tag="red", q="night")) == [ActOutcome(id="a2", changed=True)]
        assert [one.changed for one in await kernel.pause_jobs(JobSelection(tag="red"))] == [False, True]
        found = await kernel.pause_jobs(JobSelection(ids=["b", "nosuch"]))
        assert [(one.id, one.changed) for one in found] == [("b", True), ("nosuch", False)]
        assert found[1].error is not None
        assert "nosuch" in found[1].error
        with pytest.raises(JobError, match="name the jobs"):
            await kernel.pause_jobs(JobSelection())


async def test_an_act_on_more_than_a_thousand_jobs_is_refused_as_a_whole(make: Make, gnomon_events: EventList) -> None:
    async with make(*(job(f"job-{n}", tags=["all"]) for n in range(1_001))) as kernel:
        with pytest.raises(JobError, match="1,001 jobs match, and one act may have 1,000"):
            await kernel.pause_jobs(JobSelection(tag="all"))
        assert not (await kernel.job("job-0")).state.paused


async def test_runs_are_cancelled_by_tag(make: Make, gnomon_clock: VirtualClock) -> None:
    async def slow() -> None:
        await gnomon_clock.sleep(1e6)

    async with make(job("a", func=slow, tags=["red"]), job("b", func=slow)) as kernel:
        one, two = [(await kernel.trigger(name)).execution.id for name in ("a", "b")]
        assert await kernel.cancel_runs(RunSelection(tag="red"), actor="ann", reason="stop") == [
            ActOutcome(id=one, changed=True)
        ]
        assert (await kernel.wait(one)).status == "cancelled"
        again = await kernel.cancel_runs(RunSelection(ids=[one, two]))
        assert [outcome.changed for outcome in again] == [False, True]
        assert (await kernel.wait(two)).status == "cancelled"
        with pytest.raises(JobError, match="name the runs"):
            await kernel.cancel_runs(RunSelection())


def test_a_naive_time_of_an_order_may_be_the_second_pass_of_a_repeated_hour() -> None:
    berlin, twice = ZoneInfo("Europe/Berlin"), datetime.fromisoformat("2026-10-25T02:30")

    first, second = asked_instant(twice, berlin), asked_instant(twice.replace(fold=1), berlin)
    in_a_gap = datetime.fromisoformat("2026-03-29T02:30")

    assert (first, second) == (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
    assert asked_instant(in_a_gap.replace(fold=1), berlin) == asked_instant(in_a_gap, berlin)
