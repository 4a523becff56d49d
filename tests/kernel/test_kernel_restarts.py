"""Kernels that stop, crash and restart, with a store that is unavailable or owned by another kernel."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import (
    Cancelled,
    Context,
    DeposedError,
    Duration,
    Event,
    Execution,
    Failed,
    Job,
    Kernel,
    Missed,
    Retry,
    Scheduled,
    Started,
    Succeeded,
    hookimpl,
)
from gnomon.domain.events import DeclaredStep
from gnomon.domain.job_state import JobState
from gnomon.errors import ConflictError, StoreError, StoreUnavailableError
from gnomon.testing import EventList, RecordingStore, VirtualClock, check_store, make_kernel
from gnomon.testing.clock import START

Make = Callable[..., Kernel]
Body = Callable[[], Awaitable[None]]
HOUR = timedelta(hours=1)


async def quick() -> None: ...


async def fails() -> None:
    raise ValueError("boom")


def job(body: Callable[..., Any] = quick, **policies: Any) -> Job:
    keys: dict[str, Any] = {"id": "job", "func": body, **policies}
    return Job(**keys)


@pytest.fixture
def slow(gnomon_clock: VirtualClock) -> Body:
    async def body() -> None:
        await gnomon_clock.sleep(60)

    return body


class FailingStore(RecordingStore):
    """Refuses to append while it has a problem."""

    problem: StoreError | None = None

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        if self.problem is not None:
            raise self.problem
        await super().append(events, executions, jobs)


@pytest.fixture
def store(gnomon_events: EventList) -> FailingStore:
    return FailingStore(gnomon_events)


@pytest.fixture
def make(store: FailingStore, gnomon_clock: VirtualClock) -> Make:
    def make(*jobs: Job, **settings: Any) -> Kernel:
        return make_kernel(*jobs, store=store, clock=gnomon_clock, **settings)

    return make


async def crash(kernel: Kernel, store: FailingStore) -> None:
    """End a kernel as kill -9 would: nothing is written any more."""
    store.problem = StoreError("this kernel is dead")
    with capture_logs():
        await kernel.__aexit__(RuntimeError, RuntimeError("crash"), None)
    store.problem = None


def scheduled(log: EventList) -> list[float]:
    """Return the hours at which fires were accepted."""
    return [(event.scheduled_time - START) / HOUR for event in log.of(Scheduled)]


def missed(log: EventList) -> list[tuple[str, int]]:
    return [(event.reason, event.count) for event in log.of(Missed)]


# --- down-time


@pytest.mark.parametrize(
    ("policies", "runs", "misses"),
    [
        ({"catch_up": "latest"}, [1, 5, 6], [("downtime", 3)]),
        ({"catch_up": "all"}, [1, 2, 3, 4, 5, 6], []),
        ({"catch_up": "none"}, [1, 6], [("downtime", 4)]),
        ({"catch_up": "latest", "grace": Duration(minutes=20)}, [1, 6], [("downtime", 4)]),
    ],
    ids=str,
)
async def test_what_was_due_while_no_kernel_ran_is_decided_at_the_start(
    gnomon_kernel: Make,
    gnomon_clock: VirtualClock,
    gnomon_events: EventList,
    policies: dict[str, Any],
    runs: list[int],
    misses: list[tuple[str, int]],
) -> None:
    hourly = job(every=Duration(hours=1), **policies)
    async with gnomon_kernel(hourly):
        await gnomon_clock.advance(1.5 * HOUR)
    await gnomon_clock.advance(4 * HOUR)
    async with gnomon_kernel(hourly):
        await gnomon_clock.advance(HOUR)

    assert scheduled(gnomon_events) == runs
    assert missed(gnomon_events) == misses


async def test_a_restart_at_the_very_instant_of_a_fire_runs_it_once(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    hourly = job(every=Duration(hours=1))
    for _ in range(3):
        async with gnomon_kernel(hourly):
            await gnomon_clock.advance(HOUR)

    assert scheduled(gnomon_events) == [1, 2, 3]
    assert missed(gnomon_events) == []


async def test_a_pause_lasts_over_a_restart_and_over_the_definition(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    hourly = job(every=Duration(hours=1))
    async with gnomon_kernel(hourly) as kernel:
        await kernel.pause("job", actor="ann")
    await gnomon_clock.advance(2.5 * HOUR)
    async with gnomon_kernel(hourly) as kernel:
        await gnomon_clock.advance(2 * HOUR)
        assert (await kernel.job("job")).state.paused_by == "ann"
        assert gnomon_events.types == ["job_added", "job_paused"]

        await kernel.resume("job")
        await gnomon_clock.settle()

    assert (scheduled(gnomon_events), missed(gnomon_events)) == ([4], [("paused", 3)])


async def test_the_same_definitions_leave_no_trace_at_a_restart(gnomon_kernel: Make, gnomon_events: EventList) -> None:
    async def body(number: int, text: str) -> None: ...

    def jobs() -> list[Job]:
        policies = {"retry": Retry(attempts=3), "timeout": timedelta(minutes=2), "steps": ["a", DeclaredStep("b", 2)]}
        return [job(body, cron="0 3 * * *", args=[1, "x"], tags=["t"], **policies), job(id="at", at=START + HOUR)]

    for _ in range(2):
        async with gnomon_kernel(*jobs()):
            pass

    assert gnomon_events.types == ["job_added", "job_added"]


async def test_a_schedule_that_was_changed_while_no_kernel_ran_counts_from_the_start_on(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(every=Duration(hours=1))):
        await gnomon_clock.advance(1.5 * HOUR)
    await gnomon_clock.advance(3 * HOUR)
    async with gnomon_kernel(job(every=Duration(hours=2))):
        await gnomon_clock.advance(2 * HOUR)

    assert scheduled(gnomon_events) == [1, 6.5]
    (range_,) = gnomon_events.of(Missed)
    assert (range_.reason, range_.count, range_.first, range_.last) == (
        "downtime",
        3,
        START + 2 * HOUR,
        START + 4 * HOUR,
    )
    assert "schedule was changed" in (range_.detail or "")


async def test_a_job_that_was_removed_while_no_kernel_ran_leaves_no_fire_without_an_outcome(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(every=Duration(hours=1))):
        pass
    await gnomon_clock.advance(3 * HOUR)
    async with gnomon_kernel():
        pass
    await gnomon_clock.advance(3 * HOUR)
    async with gnomon_kernel(job(every=Duration(hours=1))):
        await gnomon_clock.advance(HOUR)

    assert gnomon_events.types[:3] == ["job_added", "missed", "job_removed"]
    assert (scheduled(gnomon_events), missed(gnomon_events)) == ([7], [("downtime", 3)])


@pytest.mark.parametrize(
    ("keys", "hours"),
    [({"cron": "0 * * * *"}, [1, 2, 3, 4]), ({"every": Duration(hours=1)}, [1, 2, 3, 4, 5, 6, 7])],
    ids=["cron waits for the clock", "an interval keeps its pace"],
)
async def test_a_clock_that_is_behind_the_log_at_the_start_brings_no_fire_twice(
    gnomon_kernel: Make,
    gnomon_clock: VirtualClock,
    gnomon_events: EventList,
    keys: dict[str, Any],
    hours: list[int],
) -> None:
    hourly = job(**keys)
    async with gnomon_kernel(hourly):
        await gnomon_clock.advance(3 * HOUR)
    await gnomon_clock.jump(-3 * HOUR)
    async with gnomon_kernel(hourly):
        await gnomon_clock.advance(4 * HOUR)

    assert scheduled(gnomon_events) == hours


# --- runs that an earlier kernel left


async def test_what_was_running_at_a_crash_is_lost_and_tried_again(
    make: Make, store: FailingStore, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    retrying = job(slow, retry=Retry(attempts=2, delay=Duration(seconds=30)))
    kernel = await make(retrying, job(slow, id="single")).__aenter__()
    for job_id in ("job", "single"):
        await kernel.trigger(job_id)
    await gnomon_clock.advance(10)
    await crash(kernel, store)
    with capture_logs():
        async with make(retrying, job(slow, id="single")) as kernel:
            await gnomon_clock.advance(29)
            assert len(gnomon_events.of(Started)) == 2
            await gnomon_clock.advance(120)

            assert [event.reason for event in gnomon_events.of(Failed)] == ["lost", "lost"]
            assert [event.job_id for event in gnomon_events.of(Succeeded)] == ["job"]
            await check_store(store)


async def test_what_was_accepted_and_had_not_begun_runs_after_the_restart(
    make: Make, store: FailingStore, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    jobs = [job(slow, overlap="queue"), job(slow, id="other")]
    kernel = await make(*jobs, max_running=1).__aenter__()
    await kernel.trigger("job")
    waiting = []
    for job_id in ("job", "other"):
        await gnomon_clock.advance(10)
        waiting.append((await kernel.trigger(job_id)).execution.id)
    await crash(kernel, store)

    with capture_logs():
        async with make(*jobs, max_running=1) as kernel:
            assert (await kernel.job("other")).waiting == waiting[1:]
            await gnomon_clock.advance(200)

            assert [event.stream for event in gnomon_events.of(Succeeded)] == waiting
            await check_store(store)


async def test_a_retry_that_waits_keeps_its_time_over_a_restart(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    failing = job(fails, retry=Retry(attempts=2, delay=Duration(minutes=60)))
    async with gnomon_kernel(failing) as kernel:
        await kernel.trigger("job")
        await gnomon_clock.advance(HOUR / 2)
    with capture_logs():
        async with gnomon_kernel(failing):
            await gnomon_clock.advance(HOUR / 4)
            assert len(gnomon_events.of(Started)) == 1
            await gnomon_clock.advance(HOUR)

    assert [event.at - START for event in gnomon_events.of(Started)] == [timedelta(), HOUR]


@pytest.mark.parametrize(("policies", "expected"), [({}, "success"), ({"grace": Duration(minutes=5)}, "missed")])
async def test_an_accepted_fire_runs_after_a_restart_unless_its_grace_is_over(
    make: Make,
    store: FailingStore,
    gnomon_clock: VirtualClock,
    gnomon_events: EventList,
    slow: Body,
    policies: dict[str, Any],
    expected: str,
) -> None:
    jobs = [job(slow, id="busy", at=START + HOUR), job(id="job", at=START + HOUR, **policies)]
    kernel = await make(*jobs, max_running=1).__aenter__()
    await gnomon_clock.advance(HOUR)
    await crash(kernel, store)
    await gnomon_clock.advance(HOUR)

    with capture_logs():
        async with make(*jobs) as kernel:
            await gnomon_clock.settle()
            accepted = gnomon_events.of(Scheduled, "job")[0].stream
            assert (await kernel.execution(accepted)).status == expected


async def test_an_accepted_run_whose_job_is_gone_is_missed(
    make: Make, store: FailingStore, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    kernel = await make(job(slow)).__aenter__()
    for _ in range(2):
        await kernel.trigger("job")
    await crash(kernel, store)
    with capture_logs():
        async with make():
            pass

    assert [event.reason for event in gnomon_events.of(Failed)] == ["lost"]
    assert [(event.reason, event.is_manual) for event in gnomon_events.of(Missed)] == [("downtime", True)]


async def test_a_kernel_that_keeps_no_time_leaves_what_waits_to_one_that_does(
    make: Make, store: FailingStore, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    kernel = await make(job(slow)).__aenter__()
    for _ in range(2):
        await kernel.trigger("job")
    await crash(kernel, store)
    before = len(gnomon_events.types)

    async with make(keeps_time=False):
        pass

    assert len(gnomon_events.types) == before


async def test_nothing_is_running_for_ever_however_often_it_crashes(
    make: Make, store: FailingStore, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    busy = job(slow, every=Duration(seconds=45), overlap="queue", catch_up="all", retry=Retry(attempts=2))
    with capture_logs():
        for _ in range(10):
            kernel = await make(busy).__aenter__()
            await gnomon_clock.advance(70)
            await crash(kernel, store)
        async with make(busy) as kernel:
            await kernel.pause("job")
            await gnomon_clock.advance(HOUR)

            assert {view.status for view in store._executions.values()} <= {"success", "failed", "missed"}
            await check_store(store)


# --- leaving


async def test_leaving_cancels_what_is_going_on_and_says_so(
    gnomon_kernel: Make, gnomon_events: EventList, slow: Body
) -> None:
    async with gnomon_kernel(job(slow)) as kernel:
        await kernel.trigger("job")
        await kernel.clock.settle()  # type: ignore[attr-defined]

    assert [(event.actor, event.reason) for event in gnomon_events.of(Cancelled)] == [
        ("kernel", "the kernel was stopped")
    ]


async def test_leaving_waits_for_bodies_within_its_limit(gnomon_kernel: Make, gnomon_events: EventList) -> None:
    go_on = asyncio.Event()

    async with gnomon_kernel(job(go_on.wait), drain=timedelta(seconds=10)) as kernel:
        await kernel.trigger("job")
        asyncio.get_running_loop().call_soon(go_on.set)

    assert len(gnomon_events.of(Succeeded)) == 1


async def test_a_thread_that_does_not_stop_does_not_keep_the_kernel_from_leaving(
    gnomon_kernel: Make, gnomon_events: EventList
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def stubborn(ctx: Context) -> None:
        begun.set()
        go_on.wait(60)

    async with gnomon_kernel(job(stubborn, cancel_grace=Duration(milliseconds=10))) as kernel:
        await kernel.trigger("job")
        await asyncio.to_thread(begun.wait, 60)
    go_on.set()

    assert [(event.reason, event.actor) for event in gnomon_events.of(Failed)] == [("lost", "kernel")]


async def test_a_task_that_swallows_its_cancellation_does_not_keep_the_kernel_from_leaving(
    gnomon_kernel: Make, gnomon_events: EventList
) -> None:
    go_on = asyncio.Event()

    async def stubborn() -> None:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue

    limits = {"cancel_grace": Duration(milliseconds=10), "timeout": Duration(hours=1)}
    async with gnomon_kernel(job(stubborn, **limits)) as kernel:
        await kernel.trigger("job")
        await kernel.clock.settle()  # type: ignore[attr-defined]
    go_on.set()
    await asyncio.sleep(0)

    assert [event.reason for event in gnomon_events.of(Failed)] == ["lost"]


async def test_an_exception_in_the_block_comes_out_as_it_is(gnomon_kernel: Make, slow: Body) -> None:
    async def leave_by_accident() -> None:
        async with gnomon_kernel(job(slow)) as kernel:
            await kernel.trigger("job")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await leave_by_accident()


async def test_whoever_waits_for_a_run_of_a_kernel_that_leaves_is_told(gnomon_kernel: Make, slow: Body) -> None:
    async with gnomon_kernel(job(slow, id="a"), job(slow, id="b"), max_running=1) as kernel:
        first, second = [(await kernel.trigger(job_id)).execution.id for job_id in ("a", "b")]
        await kernel.clock.settle()  # type: ignore[attr-defined]
        waiting = [asyncio.create_task(kernel.wait(identity)) for identity in (first, second)]
        await kernel.clock.settle()  # type: ignore[attr-defined]

    assert (await waiting[0]).status == "cancelled"
    with pytest.raises(DeposedError, match="stopped"):
        await waiting[1]


# --- a store that is unavailable, or owned by another kernel


class LeavingStore(RecordingStore):
    """A store that is away for some of the reads that follow its opening."""

    def __init__(self, reads: int) -> None:
        super().__init__()
        self.reads = reads
        self.opened = 0

    async def open(self, *, read_only: bool = False) -> None:
        self.opened += 1
        await super().open(read_only=read_only)

    async def jobs(self, job_ids: Collection[str] | None = None, *, removed: bool = True) -> list[JobState]:
        self.reads -= 1
        if self.reads >= 0:
            raise StoreUnavailableError("away")
        return await super().jobs(job_ids, removed=removed)


async def test_a_start_begins_again_where_the_store_goes_away_in_between() -> None:
    store = LeavingStore(reads=2)
    with capture_logs() as logs:
        async with Kernel(store=store, jobs=[job()]) as kernel:
            assert (await kernel.wait((await kernel.trigger("job")).execution.id)).status == "success"
            await check_store(store)
        with pytest.raises(StoreUnavailableError, match="away"):
            async with Kernel(store=LeavingStore(reads=3), jobs=[job()]):
                pass

    assert store.opened == 3
    assert [line["event"] for line in logs].count("the store went away during the start, which begins again") == 4


async def test_a_store_that_is_away_stops_no_job_that_goes_on_and_loses_nothing(
    make: Make, store: FailingStore, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    with capture_logs():
        async with make(job(slow, every=Duration(minutes=10))) as kernel:
            await gnomon_clock.advance(10 * timedelta(minutes=1) + timedelta(seconds=10))
            store.problem = StoreUnavailableError("disk full")
            await gnomon_clock.advance(HOUR)

            health = kernel.health()
            assert (health.state, health.problem) == ("degraded", "disk full")
            assert health.backlog > 0
            store.problem = None
            await gnomon_clock.advance(HOUR)

            assert kernel.health().state == "healthy"
            await check_store(store)
    assert scheduled(gnomon_events)[:2] == [1 / 6, 2 / 6]
    assert len(gnomon_events.of(Succeeded)) == 7


async def test_no_body_begins_before_its_start_is_durable(
    make: Make, store: FailingStore, gnomon_clock: VirtualClock
) -> None:
    begun = []

    async def body() -> None:
        begun.append(1)

    with capture_logs():
        async with make(job(body)) as kernel:
            store.problem = StoreUnavailableError("away")
            asking = asyncio.create_task(kernel.trigger("job"))
            await gnomon_clock.advance(HOUR)
            assert (begun, asking.done()) == ([], False)

            store.problem = None
            await gnomon_clock.advance(60)
            await asking

    assert begun == [1]


async def test_a_deposed_kernel_starts_nothing_more_and_stays_alive(
    make: Make, store: FailingStore, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    limited = job(slow, id="limited", timeout=Duration(seconds=30), cancel_grace=Duration(seconds=1))
    jobs = [limited, job(every=Duration(hours=1)), job(fails, id="fails", retry=Retry(attempts=2))]
    with capture_logs():
        async with make(*jobs, max_running=3) as kernel:
            for job_id in ("limited", "fails"):
                await kernel.trigger(job_id)
            await gnomon_clock.settle()
            store.problem = ConflictError("x", 1, 1)
            with pytest.raises(DeposedError):
                await kernel.trigger("job")
            store.problem = None
            written = len(gnomon_events)
            await gnomon_clock.advance(5 * HOUR)

            assert kernel.health().state == "deposed"
            with pytest.raises(DeposedError):
                await kernel.trigger("job")
            first = gnomon_events.of(Scheduled)[0].stream
            assert (await kernel.execution(first)).id == first
            assert len(gnomon_events) == written


async def test_a_store_that_is_away_for_good_does_not_keep_the_kernel_from_leaving(
    make: Make, store: FailingStore, gnomon_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.engine.leader.FLUSH_LIMIT_S", 0.05)

    with capture_logs() as logs:
        async with make(job(cancel_grace=Duration(milliseconds=10))) as kernel:
            store.problem = StoreUnavailableError("away")
            asking = asyncio.create_task(kernel.trigger("job"))
            await gnomon_clock.settle()

    with pytest.raises(DeposedError, match="stopped"):
        await asking
    (lost,) = [line for line in logs if line["event"] == "events could not be written"]
    assert (lost["log_level"], lost["problem"]) == ("critical", "away")
    assert lost["lost_events"] > 0


async def test_a_stop_does_not_wait_for_bodies_that_cannot_begin_while_the_store_is_away(
    make: Make, store: FailingStore, gnomon_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.engine.leader.FLUSH_LIMIT_S", 0.05)
    has_left = threading.Event()

    class Farewell:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            yield
            has_left.set()

    began = time.monotonic()
    patient = job(cancel_grace=Duration(minutes=5))
    async with make(patient, drain=timedelta(minutes=5), plugins=[Farewell()]) as kernel:
        store.problem = StoreUnavailableError("the disk is full")
        asking = asyncio.create_task(kernel.trigger("job"))
        await gnomon_clock.settle()

    with pytest.raises(DeposedError):
        await asking
    assert time.monotonic() - began < 120  # neither drain nor cancel_grace
    assert has_left.is_set()
    assert kernel.lost_events > 0


async def test_a_trigger_object_without_a_text_goes_on_where_it_was(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    class Hourly:
        def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
            return (previous or now) + HOUR

    for _ in range(3):
        async with gnomon_kernel(job(trigger=Hourly())):
            await gnomon_clock.advance(timedelta(minutes=40))

    assert [fire.scheduled_time for fire in gnomon_events.of(Scheduled)] == [START + HOUR, START + 2 * HOUR]
