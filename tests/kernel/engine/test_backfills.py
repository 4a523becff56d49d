"""Backfills: each past fire that needs it has one run, also over restarts and kills."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import Context, Job, Kernel, Scheduled
from gnomon.analysis.audit import audit
from gnomon.domain.events import BackfillEnded
from gnomon.domain.records import ActionQuery
from gnomon.errors import JobError, StoreError
from gnomon.jobs.registered import register_job
from gnomon.testing import EventList, RecordingStore, VirtualClock, check_store, make_kernel
from gnomon.testing.clock import START

Make = Callable[..., Kernel]
HOUR = timedelta(hours=1)


class FailingStore(RecordingStore):
    """Refuses to append while it is dead."""

    is_dead = False

    async def append(self, *args: Any) -> None:
        if self.is_dead:
            raise StoreError("this kernel is dead")
        await super().append(*args)


@pytest.fixture
def store(gnomon_events: EventList) -> FailingStore:
    return FailingStore(gnomon_events)


@pytest.fixture
def make(store: FailingStore, gnomon_clock: VirtualClock) -> Make:
    return partial(make_kernel, store=store, clock=gnomon_clock)


def job(func: Callable[..., Any], **keys: Any) -> Job:
    given: dict[str, Any] = {"id": "job", "func": func, "cron": "0 * * * *", **keys}
    return register_job(Job(**given), "UTC").job


def backfilled(log: EventList) -> list[float]:
    return [(one.scheduled_time - START) / HOUR for one in log.of(Scheduled) if one.cause == "backfill"]


async def ended(kernel: Kernel) -> None:
    """Wait until the backfill is over."""
    while (await kernel.job("job")).state.backfill is not None:  # noqa: ASYNC110 - its task has no signal
        await asyncio.sleep(0)


async def test_fires_without_a_success_run_in_order_with_their_times(
    make: Make, store: FailingStore, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    seen: list[datetime] = []
    broken = True

    async def body(ctx: Context) -> None:
        if broken and ctx.scheduled_time == START + 2 * HOUR:
            raise ValueError("broken")
        seen.append(ctx.scheduled_time)

    async with make(job(body)) as kernel:
        await gnomon_clock.advance(3.5 * HOUR)
        broken = False
        seen.clear()
        assert await kernel.backfill("job", START - 2 * HOUR, START + 3 * HOUR, actor="ann", reason="late data") == 6
        await ended(kernel)
        assert await kernel.backfill("job", START - 2 * HOUR, START + 3 * HOUR) == 6  # all have a success now
        await ended(kernel)
        actions = (await kernel.actions(ActionQuery())).items
        assert (await kernel.job("job")).state.backfill is None

    assert [(fire - START) / HOUR for fire in seen] == backfilled(gnomon_events) == [-2, -1, 0, 2]
    assert [(one.runs, one.left_out) for one in gnomon_events.of(BackfillEnded)] == [(4, 2), (0, 6)]
    assert [(one.actor, one.action, one.detail) for one in actions] == [
        ("ann", "backfill", "from 2025-12-31 22:00 to 2026-01-01 03:00 UTC: late data")
    ]
    async with store:
        report = await audit(store, START, gnomon_clock.now())
        await check_store(store)
    assert report.jobs[0].findings == []
    assert report.jobs[0].fires == 3


async def test_with_rerun_every_time_runs_once_more(
    make: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> None: ...

    async with make(job(body)) as kernel:
        await gnomon_clock.advance(2.5 * HOUR)
        for _ in range(2):
            await kernel.backfill("job", START + HOUR, START + 2 * HOUR, rerun=True)
            await ended(kernel)
            await gnomon_clock.advance(HOUR / 60)

    assert backfilled(gnomon_events) == [1, 2, 1, 2]


async def test_a_killed_kernel_goes_on_with_a_backfill_and_repeats_no_run(
    make: Make, store: FailingStore, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    started: list[datetime] = []
    is_blocked = asyncio.Event()

    async def body(ctx: Context) -> None:
        started.append(ctx.scheduled_time)
        if len(started) in {3, 5}:
            is_blocked.set()
            await gnomon_clock.sleep(1e9)

    slow = job(body, cron="0 0 * * *")
    for _ in range(2):
        kernel = make(slow)
        await kernel.__aenter__()
        if not started:
            await kernel.backfill("job", START - timedelta(days=7), START)
        await is_blocked.wait()
        is_blocked.clear()
        store.is_dead = True
        await kernel.__aexit__(RuntimeError, RuntimeError("crash"), None)
        store.is_dead = False
        await gnomon_clock.advance(HOUR)
    async with make(slow) as kernel:
        await ended(kernel)

    expected = [START - timedelta(days=n) for n in range(7, -1, -1)]
    assert started == expected
    assert [one.scheduled_time for one in gnomon_events.of(Scheduled) if one.cause == "backfill"] == expected


async def test_runs_start_at_the_rate_and_wait_while_the_kernel_is_held(
    make: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> None: ...

    async with make(job(body, cron="0 0 1 1 *")) as kernel:
        await kernel.backfill("job", START - timedelta(days=366 * 4), START, rate="2/h")
        await gnomon_clock.advance(HOUR * 0.75)
        assert len(backfilled(gnomon_events)) == 2
        await kernel.hold()
        await gnomon_clock.advance(3 * HOUR)
        assert len(backfilled(gnomon_events)) == 2
        await kernel.release()
        await gnomon_clock.advance(HOUR * 0.75)
        assert len(backfilled(gnomon_events)) == 4


async def test_with_overlap_as_many_run_at_once_as_the_job_allows(
    make: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    active, most = 0, 0

    async def body() -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await gnomon_clock.sleep(1)
        active -= 1

    async with make(job(body, cron="0 0 * * *", max_instances=3, overlap="allow")) as kernel:
        await kernel.backfill("job", START - timedelta(days=9), START - HOUR, overlap=True)
        await gnomon_clock.advance(timedelta(minutes=1))
        await ended(kernel)

    assert most == 3
    assert len(backfilled(gnomon_events)) == 9


async def test_a_backfill_is_stopped_and_refused_where_it_makes_no_sense(
    make: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> None:
        await gnomon_clock.sleep(3600)

    async def quick() -> None: ...

    async with make(job(body), Job(id="manual", func=quick)) as kernel:
        await kernel.backfill("job", START - 9 * HOUR, START)
        with pytest.raises(JobError, match="has a backfill that is not over"):
            await kernel.backfill("job", START - 9 * HOUR, START)
        await gnomon_clock.advance(1.5 * HOUR)
        assert await kernel.stop_backfill("job", actor="ann", reason="enough") is True
        assert await kernel.stop_backfill("job") is False
        await gnomon_clock.advance(5 * HOUR)
        with pytest.raises(JobError, match="not in the future"):
            await kernel.backfill("job", START, START + 1000 * HOUR)
        with pytest.raises(JobError, match="has none of its fires"):
            await kernel.backfill("job", START + HOUR / 4, START + HOUR / 2)
        with pytest.raises(JobError, match="rate must be a number of starts"):
            await kernel.backfill("job", START, START + HOUR, rate="fast")
        with pytest.raises(JobError, match="has no schedule"):
            await kernel.backfill("manual", START, START + HOUR)

    assert len(backfilled(gnomon_events)) == 2
    assert [one.is_complete for one in gnomon_events.of(BackfillEnded)] == [False]


class PausingStore(FailingStore):
    """Holds back each search for an execution until `go` is set."""

    def __init__(self, events: EventList) -> None:
        super().__init__(events)
        self.go, self.asked = asyncio.Event(), asyncio.Event()

    async def execution(self, execution_id: str) -> Any:
        self.asked.set()
        await self.go.wait()
        return await super().execution(execution_id)


@pytest.mark.parametrize("act", ["remove", "change"])
async def test_a_job_may_be_removed_or_lose_its_schedule_in_the_middle_of_a_backfill(
    act: str, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> None: ...

    store = PausingStore(gnomon_events)
    async with make_kernel(store=store, clock=gnomon_clock) as kernel:
        await kernel.add_job(job(body), temporary=True)
        await kernel.backfill("job", START - 3 * HOUR, START)
        await store.asked.wait()
        if act == "remove":
            await kernel.remove_job("job")
        else:
            await kernel.change_job("job", cron=None)
        store.go.set()
        if act == "change":
            await ended(kernel)
            assert (await kernel.wait((await kernel.trigger("job")).execution.id)).status == "success"
        assert (await kernel.jobs() == []) is (act == "remove")

    assert backfilled(gnomon_events) == []
    ends = [(one.is_complete, one.by_kernel, one.reason) for one in gnomon_events.of(BackfillEnded)]
    assert ends == ([] if act == "remove" else [(False, True, "the job has no schedule any more")])


async def test_a_trigger_that_fails_in_the_middle_of_a_backfill_ends_only_that(
    make: Make, gnomon_events: EventList
) -> None:
    class Hourly:
        is_broken = False

        def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
            if self.is_broken:
                raise SystemExit("no more times")
            return (previous_fire_time or now) + HOUR

        def __str__(self) -> str:
            return "hourly"

    trigger = Hourly()

    async def body(ctx: Context) -> None:
        trigger.is_broken = True

    async with make(Job(id="job", func=body, trigger=trigger)) as kernel:
        with capture_logs() as logs:
            await kernel.backfill("job", START - 3 * HOUR, START)
            await ended(kernel)
        assert (await kernel.wait((await kernel.trigger("job")).execution.id)).status == "success"

    assert len(backfilled(gnomon_events)) == 1
    ends = [(one.runs, one.is_complete, one.reason) for one in gnomon_events.of(BackfillEnded)]
    assert ends == [(1, False, "trigger hourly raised SystemExit: no more times")]
    assert "a backfill ended early" in [line["event"] for line in logs]


async def test_the_kernel_works_on_while_the_fires_of_a_backfill_are_counted(
    make: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> None: ...

    async with make(job(body), Job(id="other", func=body)) as kernel:
        order = asyncio.create_task(kernel.backfill("job", START - 20_000 * HOUR, START))
        while not order.done():
            await kernel.trigger("other")
            await asyncio.sleep(0)
        assert await order == 20_001
        assert await kernel.stop_backfill("job")

        order = asyncio.create_task(kernel.backfill("job", START - 20_000 * HOUR, START))
        await asyncio.sleep(0)
        await kernel.pause("job")
        with pytest.raises(JobError, match="was changed while the fires of its backfill were counted"):
            await order

    triggered = [one for one in gnomon_events.of(Scheduled) if one.job_id == "other"]
    assert len(triggered) > 10
