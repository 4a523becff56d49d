"""Kernels with jobs whose schedules are limited, spread and combined; the log proves each fire."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from gnomon import Job, JobAdded, Kernel, Missed, Scheduled, hookimpl
from gnomon.analysis.audit import audit
from gnomon.analysis.upcoming import upcoming
from gnomon.domain.records import ExecutionQuery
from gnomon.jobs.registered import register_job
from gnomon.testing import EventList, RecordingStore, VirtualClock, make_kernel
from gnomon.testing.clock import START

Make = Callable[..., Kernel]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def quick() -> None: ...


def job(**policies: Any) -> Job:
    keys: dict[str, Any] = {"id": "job", "func": quick, **policies}
    return register_job(Job(**keys), "UTC").job


@pytest.fixture
def store(gnomon_events: EventList) -> RecordingStore:
    return RecordingStore(gnomon_events)


@pytest.fixture
def make(store: RecordingStore, gnomon_clock: VirtualClock) -> Make:
    return partial(make_kernel, store=store, clock=gnomon_clock)


@pytest.fixture
def nights() -> Job:
    return job(
        schedules=[{"cron": "30 * * * *"}, {"every": "7h"}, {"cron": "0 12 * * *"}],
        start=START + 3 * HOUR,
        end=START + 4 * DAY,
        exclude=[f"{START + DAY:%Y-%m-%d}", {"cron": "* 1-4 * * *"}],
        jitter="20m",
        timezone="Europe/Berlin",
        catch_up="all",
    )


async def test_audit_proves_every_fire_of_a_schedule_with_all_its_keys(
    make: Make, store: RecordingStore, gnomon_clock: VirtualClock, gnomon_events: EventList, nights: Job
) -> None:
    trigger = nights.build_trigger()
    async with make(nights):
        await gnomon_clock.advance(30 * HOUR)
        state = (await store.jobs())[0]
        expected = upcoming(nights, state, gnomon_clock.now(), 5).fires
        fired = {event.scheduled_time for event in gnomon_events.of(Scheduled)}
        assert trigger is not None
        assert fired == {
            fire
            for hour in range(30 * 60)
            if (fire := trigger.fire_after(START + timedelta(minutes=hour), START)) and fire <= gnomon_clock.now()
        }
    await gnomon_clock.advance(20 * HOUR)  # a downtime
    async with make(nights):
        await gnomon_clock.advance(4 * DAY)
        report = await audit(store, START, gnomon_clock.now())

    [one] = report.jobs
    assert [one.findings, one.open, one.unproved] == [[], [], []]
    fires = [event.scheduled_time for event in gnomon_events.of(Scheduled)]
    assert one.fires == len(fires) > 40
    assert set(expected) <= set(fires)
    assert all(START + 3 * HOUR <= fire <= START + 4 * DAY for fire in fires)


async def test_audit_notices_a_fire_that_the_hash_does_not_name(
    make: Make, store: RecordingStore, gnomon_clock: VirtualClock, gnomon_events: EventList, nights: Job
) -> None:
    async with make(nights):
        await gnomon_clock.advance(12 * HOUR)
    async with store, RecordingStore() as forged:
        for event in gnomon_events:
            other = event
            if isinstance(event, JobAdded):
                other = msgspec.structs.replace(event, definition=event.definition | {"jitter": "21m"})
            await forged.append([other], [], await store.jobs())
        report = await audit(forged, START, gnomon_clock.now())

    assert {finding.problem for finding in report.jobs[0].findings} == {"not_named", "no_outcome"}


async def test_a_job_runs_once_at_each_start_of_a_kernel_beside_its_schedule(
    make: Make, store: RecordingStore, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    both = job(every="1h", at_start=True)
    for _ in range(2):
        async with make(both) as kernel:
            await gnomon_clock.advance(HOUR / 4)
            await kernel.apply_jobs([both])  # as a reload does

    assert [(event.cause, event.is_manual) for event in gnomon_events.of(Scheduled)] == [("at_start", True)] * 2
    async with make(both) as kernel:
        await gnomon_clock.advance(HOUR)
        report = await audit(store, START, gnomon_clock.now())
        run, *_ = (await kernel.executions(ExecutionQuery(is_manual=True))).items
        assert run.cause == "at_start"
        assert run.status == "success"
    assert report.jobs[0].findings == []


async def test_a_paused_job_does_not_run_at_the_start_and_a_guard_may_veto(
    make: Make, store: RecordingStore, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    class Closed:
        @hookimpl
        def guard(self, job: Job) -> str | None:
            return "closed" if job.id == "guarded" else None

    async with make(job(paused=True, at_start=True), job(id="guarded", at_start=True), plugins=[Closed()]):
        await gnomon_clock.advance(HOUR)

    assert gnomon_events.of(Scheduled) == []
    assert [(event.job_id, event.reason) for event in gnomon_events.of(Missed)] == [("guarded", "guard")]


async def test_runs_of_earlier_starts_that_wait_for_a_slot_do_not_pile_up(
    make: Make, store: RecordingStore, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def blocks() -> None:
        await gnomon_clock.sleep(1e6)

    blocking = job(id="blocking", func=blocks, at_start=True)
    for _ in range(2):
        async with make(blocking, job(at_start=True), max_running=1, drain=timedelta()):
            await gnomon_clock.advance(HOUR)

    assert len(gnomon_events.of(Scheduled, "job")) == 1
