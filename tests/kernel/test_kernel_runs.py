"""One run from its trigger to its end: arguments, cancellation, time limits, retries, and what bodies may do to it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import (
    Cancelled,
    CancelRequested,
    Context,
    Duration,
    Execution,
    ExecutionOverError,
    GnomonError,
    Job,
    JobError,
    Kernel,
    LateResult,
    Missed,
    Retry,
    RunCancelled,
    Scheduled,
    Started,
    Succeeded,
    UnknownExecutionError,
    UnknownJobError,
    current,
    hookimpl,
)
from gnomon.domain.execution import execution_id
from gnomon.testing import EventList, RecordingStore, VirtualClock, make_kernel
from gnomon.testing.clock import START

Make = Callable[..., Kernel]
Body = Callable[[], Awaitable[None]]
RunJob = Callable[..., Awaitable[Execution]]
HOUR = timedelta(hours=1)


async def quick() -> None: ...


def job(body: Callable[..., Any] = quick, **policies: Any) -> Job:
    keys: dict[str, Any] = {"id": "job", "func": body, **policies}
    return Job(**keys)


@pytest.fixture
def slow(gnomon_clock: VirtualClock) -> Body:
    async def body() -> None:
        await gnomon_clock.sleep(60)

    return body


async def start(kernel: Kernel, job_id: str = "job") -> str:
    """Trigger a job and let it begin."""
    identity = (await kernel.trigger(job_id)).execution.id
    await kernel.clock.settle()  # type: ignore[attr-defined]
    return identity


async def in_real_time(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for goes on in a thread
            await asyncio.sleep(0.001)


# --- by hand


async def test_a_run_by_hand_has_its_own_arguments_and_leaves_the_schedule_alone(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    seen = []

    async def body(market: str, days: int = 1) -> None:
        seen.append((market, days))

    async with gnomon_kernel(job(body, kwargs={"market": "cn"}, every=Duration(hours=1))) as kernel:
        await gnomon_clock.advance(HOUR / 2)
        triggered = await kernel.trigger("job", kwargs={"days": 7}, actor="ann")
        await gnomon_clock.advance(HOUR / 2)

    assert seen == [("cn", 7), ("cn", 1)]
    assert (triggered.is_new, triggered.resumed) == (True, False)
    by_hand, fire = gnomon_events.of(Scheduled)
    assert (by_hand.is_manual, by_hand.actor, by_hand.kwargs) == (True, "ann", {"market": "cn", "days": 7})
    assert (fire.is_manual, fire.kwargs, fire.scheduled_time) == (False, {"market": "cn"}, START + HOUR)


async def test_a_trigger_resumes_a_paused_job(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(every=Duration(hours=1), paused=True)) as kernel:
        triggered = await kernel.trigger("job", actor="ann")
        await gnomon_clock.advance(HOUR)

        assert triggered.resumed
        assert not (await kernel.job("job")).state.paused
    assert [event.is_manual for event in gnomon_events.of(Scheduled)] == [True, False]


async def test_a_trigger_that_is_told_so_leaves_the_job_paused(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(every=Duration(hours=1), paused=True)) as kernel:
        triggered = await kernel.trigger("job", resume=False)
        await gnomon_clock.advance(HOUR)

        assert not triggered.resumed
        assert (await kernel.job("job")).state.paused
    assert [event.is_manual for event in gnomon_events.of(Scheduled)] == [True]


async def test_a_repeated_request_makes_one_run(gnomon_kernel: Make, gnomon_events: EventList) -> None:
    async with gnomon_kernel(job(), job(id="other")) as kernel:
        first = await kernel.trigger("job", idempotency_key="k")
        await kernel.wait(first.execution.id)
        again = await kernel.trigger("job", idempotency_key="k")
        other = await kernel.trigger("other", idempotency_key="k")

    assert (first.is_new, again.is_new, other.is_new) == (True, False, True)
    assert again.execution.id == first.execution.id
    assert again.execution.status == "success"
    assert len(gnomon_events.of(Scheduled)) == 2


async def test_repeated_requests_at_the_same_time_make_one_run(
    gnomon_kernel: Make, gnomon_events: EventList, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_it_up(store: RecordingStore, identity: str) -> Execution | None:
        await asyncio.sleep(0)  # as a store with a disk does
        return store._executions.get(identity)

    monkeypatch.setattr(RecordingStore, "execution", look_it_up)
    async with gnomon_kernel(job()) as kernel:
        requests = [kernel.trigger("job", idempotency_key="k") for _ in range(5)]
        answers = await asyncio.gather(*requests)

        assert kernel.health().state == "healthy"
    assert [answer.is_new for answer in answers].count(True) == 1
    assert len({answer.execution.id for answer in answers}) == 1
    assert len(gnomon_events.of(Scheduled)) == 1


async def test_an_unknown_job_is_named_with_one_that_is_spelled_nearly_so(gnomon_kernel: Make) -> None:
    async with gnomon_kernel(job(id="financial_sync")) as kernel:
        with pytest.raises(UnknownJobError, match="did you mean 'financial_sync'"):
            await kernel.trigger("finacial_sync")


@pytest.mark.parametrize(
    ("kwargs", "problem"),
    [({"typo": 1}, "typo"), ({"days": {1, 2}}, "JSON"), ({"days": START}, "2026"), ({"days": float("nan")}, "null")],
)
async def test_wrong_arguments_are_refused_before_anything_happens(
    gnomon_kernel: Make, gnomon_events: EventList, kwargs: dict[str, Any], problem: str
) -> None:
    async def body(days: Any = 1) -> None: ...

    async with gnomon_kernel(job(body, paused=True)) as kernel:
        with pytest.raises(JobError, match=problem):
            await kernel.trigger("job", kwargs=kwargs)

        assert (await kernel.job("job")).state.paused
    assert gnomon_events.types == ["job_added"]


async def test_by_hand_an_overlap_only_lets_it_wait(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    async with gnomon_kernel(job(slow, every=Duration(minutes=1))) as kernel:
        await gnomon_clock.advance(60)
        triggered = await kernel.trigger("job")

        assert triggered.execution.status == "scheduled"
        assert (await kernel.job("job")).waiting == [triggered.execution.id]
        await gnomon_clock.advance(60)
        assert (await kernel.execution(triggered.execution.id)).status == "running"


async def test_a_kernel_that_keeps_no_time_runs_what_is_triggered(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(every=Duration(hours=1)), keeps_time=False) as kernel:
        await gnomon_clock.advance(3 * HOUR)
        triggered = await kernel.trigger("job")

        assert (await kernel.wait(triggered.execution.id)).status == "success"
        assert [view.job.id for view in await kernel.jobs()] == ["job"]
    assert gnomon_events.types == ["scheduled", "started", "succeeded"]


# --- guards


class Guard:
    def __init__(self) -> None:
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        self.reason: str | None = "the exchange is closed"

    @hookimpl
    def guard(self, job: Job) -> str | None:
        self.asked += 1
        self.gate.wait(60)
        return self.reason


async def test_a_guard_may_veto_a_fire_and_a_run_by_hand_but_not_a_forced_one(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(every=Duration(hours=1)), plugins=[Guard()]) as kernel:
        await gnomon_clock.advance(HOUR)
        by_hand = await kernel.trigger("job")
        forced = await kernel.trigger("job", force=True)
        await kernel.wait(forced.execution.id)

    assert by_hand.execution.status == "missed"
    assert [(event.reason, event.detail, event.is_manual) for event in gnomon_events.of(Missed)] == [
        ("guard", "the exchange is closed", False),
        ("guard", "the exchange is closed", True),
    ]
    assert [event.force for event in gnomon_events.of(Scheduled)] == [True]


async def test_runs_that_are_guarded_at_the_same_time_are_all_guarded(
    gnomon_kernel: Make, gnomon_events: EventList
) -> None:
    guard = Guard()
    guard.gate.clear()
    async with gnomon_kernel(job(), plugins=[guard], hook_timeout=timedelta(minutes=1)) as kernel:
        requests = [asyncio.create_task(kernel.trigger("job")) for _ in range(3)]
        await in_real_time(lambda: guard.asked == 1)
        guard.gate.set()
        answers = await asyncio.gather(*requests)

    assert [answer.execution.status for answer in answers] == ["missed"] * 3


@pytest.mark.parametrize("error", [ValueError, SystemExit])
async def test_a_guard_that_raises_stops_no_job(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, error: type[BaseException]
) -> None:
    class Broken:
        @hookimpl
        def guard(self, job: Job) -> str | None:
            raise error("no calendar")

    with capture_logs():
        async with gnomon_kernel(job(every=Duration(hours=1)), plugins=[Broken()]) as kernel:
            await gnomon_clock.advance(2 * HOUR)
            (health,) = kernel.health().plugins

    assert len(gnomon_events.of(Succeeded)) == 2
    assert health.state == "degraded"
    assert health.problem == f"hook guard failed, so 'job' ran unguarded: {error.__name__}: no calendar"


async def test_a_guard_that_hangs_stops_no_job(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    guard = Guard()
    guard.gate.clear()
    limit = timedelta(milliseconds=50)
    with capture_logs() as logs:
        async with gnomon_kernel(job(every=Duration(hours=1)), plugins=[guard], hook_timeout=limit) as kernel:
            await gnomon_clock.advance(3 * HOUR)
            (health,) = kernel.health().plugins
        guard.gate.set()

    assert len(gnomon_events.of(Succeeded)) == 3
    assert guard.asked == 1
    assert {(line["event"], line["plugin"]) for line in logs if line["log_level"] == "error"} == {
        ("guards took too long, fires run unguarded", "Guard"),
        ("guards do not respond, fires run unguarded", "Guard"),
    }
    assert health.state == "degraded"
    assert health.problem == "hook guard has not returned for 0.05 s, so fires run unguarded until it does"


@pytest.mark.parametrize("change", ["pause and resume", "redefine", "remove", "trigger"])
async def test_a_job_that_is_changed_while_its_guards_are_asked_fires_once(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, change: str
) -> None:
    guard = Guard()
    guard.reason = None
    limit = timedelta(minutes=1)
    async with gnomon_kernel(job(every=Duration(hours=1)), plugins=[guard], hook_timeout=limit) as kernel:
        await gnomon_clock.settle()
        guard.gate.clear()
        gnomon_clock.is_idle = lambda: True
        await gnomon_clock.advance(HOUR)
        await in_real_time(lambda: guard.asked == 1)

        async def work() -> None:
            if change == "pause and resume":
                await kernel.pause("job")
                await kernel.resume("job")
            elif change == "redefine":
                await kernel.apply_jobs([job(every=Duration(hours=2))])
            elif change == "remove":
                await kernel.apply_jobs([])
            else:
                await kernel.trigger("job")

        changing = asyncio.create_task(work())
        await gnomon_clock.settle()
        guard.gate.set()
        await changing
        gnomon_clock.is_idle = lambda: kernel.is_idle
        await gnomon_clock.advance(HOUR / 2)

        assert kernel.health().state == "healthy"
    assert [event.scheduled_time for event in gnomon_events.of(Scheduled) if not event.is_manual] == [START + HOUR]


# --- cancelling


async def test_a_run_that_waits_never_starts(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    async with gnomon_kernel(job(slow)) as kernel:
        await start(kernel)
        waiting = await start(kernel)

        cancelled = await kernel.cancel(waiting, actor="ann", reason="not today")
        await gnomon_clock.advance(HOUR)

    assert (cancelled.status, cancelled.cancelled_by, cancelled.reason) == ("cancelled", "ann", "not today")
    assert len(gnomon_events.of(Started)) == 1
    assert gnomon_events.of(CancelRequested) == []


async def test_an_async_body_stops_where_it_awaits(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    async with gnomon_kernel(job(slow)) as kernel:
        running = await start(kernel)
        await gnomon_clock.advance(7)

        await kernel.cancel(running, actor="ann", reason="not today")
        execution = await kernel.wait(running)

    assert (execution.status, execution.cancelled_by, execution.reason) == ("cancelled", "ann", "not today")
    assert execution.execution_time == 7.0
    assert [event.actor for event in gnomon_events.of(CancelRequested)] == ["ann"]


async def test_a_second_request_is_not_written_down_again(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def stubborn() -> str:
        for _ in range(2):
            try:
                await gnomon_clock.sleep(60)
            except asyncio.CancelledError:
                continue
        return "at last"

    async with gnomon_kernel(job(stubborn)) as kernel:
        running = await start(kernel)
        for actor in ("ann", "bob"):
            await kernel.cancel(running, actor=actor)
            await gnomon_clock.settle()
        execution = await kernel.wait(running)

    assert (execution.status, execution.return_value) == ("success", "at last")
    assert [event.actor for event in gnomon_events.of(CancelRequested)] == ["ann"]


async def test_a_thread_that_swallows_every_exception_stops_at_its_next_context_call(
    gnomon_kernel: Make, gnomon_events: EventList
) -> None:
    begun, asked = threading.Event(), threading.Event()

    def body(ctx: Context) -> str:
        begun.set()
        asked.wait(60)
        while True:
            try:
                ctx.checkpoint()
            except Exception:  # noqa: BLE001, S112 - this is what is tested
                continue

    async with gnomon_kernel(job(body)) as kernel:
        running = (await kernel.trigger("job")).execution.id
        await in_real_time(begun.is_set)

        told = await kernel.cancel(running, actor="ann")
        asked.set()
        execution = await kernel.wait(running)

    assert (told.status, told.cancel_requested) == ("running", True)
    assert (execution.status, execution.cancelled_by) == ("cancelled", "ann")


async def test_a_body_that_ends_in_spite_of_the_request_has_succeeded(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> str:
        try:
            await gnomon_clock.sleep(60)
        except asyncio.CancelledError:
            return "done anyway"
        return "never asked"

    async with gnomon_kernel(job(body)) as kernel:
        running = await start(kernel)
        await kernel.cancel(running)
        execution = await kernel.wait(running)

    assert (execution.status, execution.return_value) == ("success", "done anyway")
    assert execution.cancel_requested


async def test_a_body_that_raises_after_the_request_has_failed_and_is_not_tried_again(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> None:
        try:
            await gnomon_clock.sleep(60)
        finally:
            raise ValueError("the clean-up broke")

    async with gnomon_kernel(job(body, retry=Retry(attempts=3))) as kernel:
        running = await start(kernel)
        await kernel.cancel(running)
        execution = await kernel.wait(running)
        await gnomon_clock.advance(HOUR)

    assert (execution.status, execution.error_message) == ("failed", "the clean-up broke")
    assert len(gnomon_events.of(Scheduled)) == 1


async def test_a_body_that_is_cancelled_by_itself_has_failed(gnomon_kernel: Make) -> None:
    async def body() -> None:
        raise asyncio.CancelledError

    async with gnomon_kernel(job(body)) as kernel:
        execution = await kernel.wait((await kernel.trigger("job")).execution.id)

    assert (execution.status, execution.error_type) == ("failed", "asyncio.exceptions.CancelledError")


async def test_what_is_over_cannot_be_cancelled(gnomon_kernel: Make) -> None:
    async with gnomon_kernel(job()) as kernel:
        execution = await kernel.wait((await kernel.trigger("job")).execution.id)

        with pytest.raises(ExecutionOverError, match="success"):
            await kernel.cancel(execution.id)
        with pytest.raises(UnknownExecutionError):
            await kernel.cancel("0" * 24)


async def test_cancelling_before_the_body_has_begun_keeps_it_from_beginning(
    gnomon_kernel: Make, gnomon_clock: VirtualClock
) -> None:
    begun = []

    async def body() -> None:
        begun.append(1)

    async with gnomon_kernel(job(body)) as kernel:
        triggering = asyncio.create_task(kernel.trigger("job"))
        while not kernel._leader._journal.live:  # noqa: ASYNC110 - to the very turn in which it is accepted
            await asyncio.sleep(0)
        (identity,) = kernel._leader._journal.live
        await kernel.cancel(identity)
        execution = await kernel.wait(identity)
        await triggering

    assert (execution.status, begun) == ("cancelled", [])


# --- marking as failed


async def test_a_run_that_is_marked_as_failed_is_over_at_once_and_its_late_result_is_kept(
    gnomon_kernel: Make, gnomon_events: EventList
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def body() -> str:
        begun.set()
        go_on.wait(60)
        return "too late"

    async with gnomon_kernel(job(body, retry=Retry(attempts=2))) as kernel:
        running = (await kernel.trigger("job")).execution.id
        await in_real_time(begun.is_set)
        execution = await kernel.fail(running, "it is dead, Jim", actor="ann")
        with pytest.raises(ExecutionOverError):
            await kernel.fail(running, "again")
        go_on.set()
        await in_real_time(lambda: bool(gnomon_events.of(LateResult)))

        assert (await kernel.execution(running)).status == "failed"
    assert (execution.status, execution.reason, execution.error_message) == ("failed", "marked", "it is dead, Jim")
    assert [event.return_value for event in gnomon_events.of(LateResult)] == ["too late"]
    assert len(gnomon_events.of(Scheduled)) == 1, "a run that was marked as failed stays failed"


async def test_what_has_not_started_cannot_be_marked_as_failed(gnomon_kernel: Make, slow: Body) -> None:
    async with gnomon_kernel(job(slow)) as kernel:
        await start(kernel)
        waiting = await start(kernel)

        with pytest.raises(GnomonError):
            await kernel.fail(waiting, "no")
        assert (await kernel.execution(waiting)).status == "scheduled"


# --- time limits


async def test_a_run_that_takes_too_long_is_stopped(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, slow: Body
) -> None:
    async with gnomon_kernel(job(slow, timeout=Duration(seconds=20))) as kernel:
        running = await start(kernel)
        await gnomon_clock.advance(30)
        execution = await kernel.execution(running)

    assert (execution.status, execution.reason, execution.execution_time) == ("failed", "timeout", 20.0)
    assert "20s" in (execution.error_message or "")
    assert gnomon_events.of(LateResult) == []


async def test_a_run_that_ends_in_its_grace_after_a_timeout_has_failed_and_its_result_is_kept(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> str:
        try:
            await gnomon_clock.sleep(60)
        except asyncio.CancelledError:
            await gnomon_clock.sleep(5)
        return "nearly"

    async with gnomon_kernel(job(body, timeout=Duration(seconds=20))) as kernel:
        running = await start(kernel)
        await gnomon_clock.advance(60)
        execution = await kernel.execution(running)

    assert (execution.status, execution.reason, execution.execution_time) == ("failed", "timeout", 25.0)
    assert [event.return_value for event in gnomon_events.of(LateResult)] == ["nearly"]


async def test_a_body_that_does_not_stop_is_given_up_after_its_grace_and_frees_its_slot(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> str:
        try:
            await gnomon_clock.sleep(600)
        except asyncio.CancelledError:
            await gnomon_clock.sleep(600)
        return "very late"

    limits = {"timeout": Duration(seconds=20), "cancel_grace": Duration(seconds=10)}
    async with gnomon_kernel(job(body, **limits)) as kernel:
        running = await start(kernel)
        await gnomon_clock.advance(31)

        execution = await kernel.execution(running)
        assert (execution.status, execution.reason, execution.execution_time) == ("failed", "timeout", 30.0)
        assert "had not stopped 10s later" in (execution.error_message or "")
        assert kernel.health().running == 0
        await gnomon_clock.advance(1000)

    assert [event.return_value for event in gnomon_events.of(LateResult)] == ["very late"]


class PausedBeforeReading(VirtualClock):
    """The process stops for an hour before its monotonic clock is read for the `number`th time from now on."""

    number = 0

    def monotonic(self) -> float:
        self.number -= 1
        if self.number == 0:
            self._move(self._passed + 3600)
        return super().monotonic()


async def test_a_pause_at_any_moment_is_no_silence_of_a_run_and_no_change_of_the_clock() -> None:
    clock = PausedBeforeReading()

    async def talks() -> None:
        for _ in range(5):
            await clock.sleep(60)
            current().progress(message="alive")

    ends: list[str] = []
    with capture_logs() as logs:
        for number in range(1, 40):
            async with make_kernel(Job(id="talks", func=talks, silence=Duration(minutes=10)), clock=clock) as kernel:
                run = (await kernel.trigger("talks")).execution.id
                await clock.settle()
                clock.number = number
                await clock.advance(timedelta(minutes=100))
                ends.append((await kernel.execution(run)).status)

    assert ends == ["success"] * len(ends)
    assert [line for line in logs if line["event"] == "the clock was set"] == []


async def test_time_in_which_the_kernel_did_not_run_is_no_silence_of_its_runs(
    gnomon_kernel: Callable[..., Kernel], gnomon_clock: VirtualClock
) -> None:
    async def body() -> None:
        await gnomon_clock.sleep(24 * 3600)

    async with gnomon_kernel(job(body, id="job", silence=Duration(minutes=10))) as kernel:
        run = (await kernel.trigger("job")).execution.id
        await gnomon_clock.advance(5 * 60)
        await gnomon_clock.stall(3600)  # stopped, suspended, or the loop was blocked
        await gnomon_clock.advance(9 * 60)
        assert (await kernel.execution(run)).status == "running"
        await gnomon_clock.advance(2 * 60)
        over = await kernel.execution(run)

    assert (over.status, over.reason) == ("failed", "silence")


async def test_a_silent_run_is_stopped_and_one_that_talks_is_not(
    gnomon_kernel: Make, gnomon_clock: VirtualClock
) -> None:
    async def talks() -> None:
        for _ in range(10):
            await gnomon_clock.sleep(25)
            current().checkpoint()

    async def is_silent() -> None:
        current().checkpoint()
        await gnomon_clock.sleep(250)

    silence = {"silence": Duration(seconds=30)}
    async with gnomon_kernel(job(talks, id="talks", **silence), job(is_silent, id="silent", **silence)) as kernel:
        talking, silent = await start(kernel, "talks"), await start(kernel, "silent")
        await gnomon_clock.advance(300)

        assert (await kernel.execution(talking)).status == "success"
        stopped = await kernel.execution(silent)
    assert (stopped.status, stopped.reason, stopped.execution_time) == ("failed", "silence", 30.0)


# --- retries


async def test_attempts_are_executions_of_their_own_that_name_the_one_before(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> int:
        if current().attempt < 4:
            raise ValueError(f"attempt {current().attempt}")
        return current().attempt

    retry = Retry(attempts=5, delay=Duration(seconds=10), backoff=3.0, max_delay=Duration(seconds=60))
    async with gnomon_kernel(job(body, at=START + HOUR, retry=retry)):
        await gnomon_clock.advance(2 * HOUR)

    attempts = gnomon_events.of(Scheduled)
    ids = [event.stream for event in attempts]
    assert ids == [execution_id("job", START + HOUR, attempt) for attempt in (1, 2, 3, 4)]
    assert [event.retry_of for event in attempts] == [None, *ids[:3]]
    assert {event.scheduled_time for event in attempts} == {START + HOUR}
    waits = [(event.at - START - HOUR).total_seconds() for event in gnomon_events.of(Started)]
    assert waits == [0, 10, 40, 100]
    assert [event.return_value for event in gnomon_events.of(Succeeded)] == [4]


async def test_after_the_last_attempt_it_stays_failed(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> None:
        raise ValueError

    retry = Retry(attempts=40, delay=Duration(), backoff=9.0)
    async with gnomon_kernel(job(body, retry=retry)) as kernel:
        await start(kernel)
        await gnomon_clock.advance(HOUR)

    assert [event.attempt for event in gnomon_events.of(Scheduled)] == list(range(1, 41))
    assert len({event.stream for event in gnomon_events.of(Scheduled)}) == 40


async def test_the_attempts_of_a_run_by_hand_keep_its_arguments(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body(days: int = 1) -> None:
        raise ValueError(days)

    async with gnomon_kernel(job(body, retry=Retry(attempts=3))) as kernel:
        await kernel.trigger("job", kwargs={"days": 7}, actor="ann")
        await gnomon_clock.advance(HOUR)

    attempts = gnomon_events.of(Scheduled)
    assert [(event.is_manual, event.actor, event.kwargs) for event in attempts] == [(True, "ann", {"days": 7})] * 3
    assert len({event.stream for event in attempts}) == 3


async def test_a_retry_that_waits_can_be_cancelled(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> None:
        raise ValueError

    async with gnomon_kernel(job(body, retry=Retry(attempts=3))) as kernel:
        await start(kernel)
        (_, retry) = gnomon_events.of(Scheduled)
        await kernel.cancel(retry.stream)
        await gnomon_clock.advance(HOUR)

    assert len(gnomon_events.of(Started)) == 1
    assert len(gnomon_events.of(Cancelled)) == 1


async def test_a_retry_whose_job_is_removed_is_cancelled(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> None:
        raise ValueError

    async with gnomon_kernel(job(body, retry=Retry(attempts=3))) as kernel:
        await start(kernel)
        await kernel.apply_jobs([])
        await gnomon_clock.advance(HOUR)

    assert len(gnomon_events.of(Cancelled)) == 1


async def test_a_body_that_fails_while_the_kernel_stops_leaves_its_retry_to_the_next_one(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    fail = asyncio.Event()

    async def body() -> None:
        await fail.wait()
        raise ValueError

    async with gnomon_kernel(job(body, retry=Retry(attempts=2)), drain=timedelta(seconds=10)) as kernel:
        await start(kernel)
        asyncio.get_running_loop().call_soon(fail.set)

    assert gnomon_events.types[-2:] == ["failed", "scheduled"]


# --- what bodies may do


class Unshowable:
    def __repr__(self) -> str:
        raise ZeroDivisionError


class UnshowableError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        ({"rows": 3, 4: (5, 6)}, {"rows": 3, "4": [5, 6]}),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"),
        (float("nan"), None),
        (2**70, 2**70),
        (len, "<built-in function len>"),
        (Unshowable(), f"({__name__}.Unshowable that cannot be shown)"),
        ("half a character: \ud800", "'half a character: \\ud800'"),
    ],
)
async def test_a_return_value_is_kept_as_json_or_as_what_it_looks_like(
    gnomon_run_job: RunJob, value: Any, kept: Any
) -> None:
    async def body() -> Any:
        return value

    execution = await gnomon_run_job(body)

    assert (execution.status, execution.return_value) == ("success", kept)


async def test_a_huge_return_value_is_kept_in_part(gnomon_run_job: RunJob) -> None:
    async def body() -> list[int]:
        return list(range(1_000_000))

    execution = await gnomon_run_job(body)

    assert execution.return_value.startswith("[0, 1, 2")
    assert len(execution.return_value) < 70_000


def raise_huge() -> None:
    raise ValueError("x" * 10 * 1024 * 1024)


def exit_the_interpreter() -> None:
    raise SystemExit(3)


def raise_unshowable() -> None:
    raise UnshowableError


def raise_half_a_character() -> None:
    raise ValueError("\ud800")


def stop_iterating() -> None:
    raise StopIteration("enough")


def stop_itself() -> None:
    raise RunCancelled


@pytest.mark.parametrize("in_a_thread", [True, False])
@pytest.mark.parametrize(
    ("func", "error_type"),
    [
        (raise_huge, "ValueError"),
        (exit_the_interpreter, "SystemExit"),
        (raise_unshowable, f"{__name__}.UnshowableError"),
        (raise_half_a_character, "ValueError"),
        (stop_iterating, "StopIteration"),
        (stop_itself, "gnomon.RunCancelled"),
    ],
)
async def test_whatever_a_body_raises_the_run_has_failed_and_the_kernel_goes_on(
    gnomon_kernel: Make, func: Callable[[], None], error_type: str, in_a_thread: bool
) -> None:
    async def awaiting() -> None:
        func()

    async with gnomon_kernel(job(func if in_a_thread else awaiting), job(id="next")) as kernel:
        execution = await kernel.wait((await kernel.trigger("job")).execution.id)
        following = await kernel.wait((await kernel.trigger("next")).execution.id)

    assert (execution.status, execution.reason) == ("failed", "exception")
    expected = "RuntimeError" if func is stop_iterating and not in_a_thread else error_type
    assert execution.error_type == expected
    assert len(execution.error_message or "") < 5_000
    assert 0 < len(execution.traceback or "") < 40_000
    assert following.status == "success"


async def test_a_job_id_may_have_all_the_characters_that_are_allowed(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    odd = "0.A_b:c-9" * 14
    async with gnomon_kernel(job(id=odd, every=Duration(hours=1)), job(lambda: None, id="job:job")) as kernel:
        await gnomon_clock.advance(HOUR)
        await kernel.wait((await kernel.trigger("job:job")).execution.id)

    assert {event.job_id for event in gnomon_events.of(Succeeded)} == {odd, "job:job"}


async def test_a_plain_function_runs_in_a_thread_of_its_own_and_knows_its_run(gnomon_run_job: RunJob) -> None:
    def body(ctx: Context, days: int) -> dict[str, Any]:
        return {
            "is_main": threading.current_thread() is threading.main_thread(),
            "same": current() is ctx,
            "job": ctx.job_id,
            "days": days,
        }

    execution = await gnomon_run_job(body, days=3)

    assert execution.return_value == {"is_main": False, "same": True, "job": "body", "days": 3}
    assert execution.runner == "thread"


async def test_when_the_machine_has_no_thread_left_the_run_fails_and_not_the_kernel(
    gnomon_kernel: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with gnomon_kernel(job(lambda: None), job(id="next")) as kernel:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_more)
            execution = await kernel.wait((await kernel.trigger("job")).execution.id)
        following = await kernel.wait((await kernel.trigger("next")).execution.id)

    assert (execution.status, execution.error_message) == ("failed", "can't start new thread")
    assert following.status == "success"


# --- definitions that no kernel takes


@pytest.mark.parametrize(
    ("policies", "problem"),
    [
        ({"kwargs": {"x": object()}}, "JSON"),
        ({"kwargs": {"x": (1, 2)}}, "would be read back"),
        ({"args": [datetime(2026, 1, 1, tzinfo=UTC)]}, "would be read back"),
        ({"steps": [("fetch", 3)]}, "expected text"),
        ({"overlap": "perhaps"}, "expected one of"),
        ({"timeout": "soon"}, "expected a duration"),
        ({"tags": {}}, "expected array"),
        ({"description": "half a character: \ud800"}, "description has half a character"),
        (
            {"kwargs": {"x": "x" * 5_000_000}},
            r"^job 'job': its arguments have 5,000,\d+ bytes as JSON, and 262,144 are allowed",
        ),
    ],
)
async def test_a_job_that_the_log_cannot_keep_is_refused(policies: dict[str, Any], problem: str) -> None:
    def body(x: Any = None) -> None: ...

    with pytest.raises(JobError, match=problem):
        Kernel(jobs=[job(body, **policies)])


async def test_jobs_are_added_to_a_running_kernel_in_another_way(gnomon_kernel: Make) -> None:
    async with gnomon_kernel() as kernel:
        with pytest.raises(JobError, match="add_job"):
            kernel.add(job())


async def test_a_kernel_that_does_not_run_says_so(gnomon_kernel: Make) -> None:
    kernel = gnomon_kernel(job())
    with pytest.raises(GnomonError, match="not running"):
        await kernel.trigger("job")

    async with kernel:
        pass

    with pytest.raises(GnomonError, match="not running"):
        await kernel.trigger("job")


async def test_a_kernel_whose_loop_has_ended_says_so_on_another_one(gnomon_kernel: Make) -> None:
    kernel, ended = gnomon_kernel(job()), asyncio.new_event_loop()
    ended.close()
    kernel.loop = ended  # a thread may find it like this while the kernel leaves

    with pytest.raises(GnomonError, match="not running"):
        await kernel.trigger("job")
