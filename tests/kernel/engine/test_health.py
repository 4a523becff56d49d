"""What the kernel says about itself: late starts, slow appends, a clock behind the log, components that stand still."""

import asyncio
import re
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import Duration, Event, Execution, GnomonError, Health, JobState, hookimpl
from gnomon.engine import vital_signs
from gnomon.engine.vital_signs import Heartbeat, RecentValues
from gnomon.errors import StoreUnavailableError
from gnomon.jobs.job import Job
from gnomon.testing import RecordingStore, VirtualClock, make_kernel
from gnomon.testing.clock import START

HOUR = timedelta(hours=1)


async def quick() -> None: ...


class Moving:
    """Stands in for the module time of vital_signs."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def moving(monkeypatch: pytest.MonkeyPatch) -> Moving:
    moving = Moving()
    monkeypatch.setattr(vital_signs, "time", moving)
    return moving


# --- measures


def test_a_step_that_takes_too_long_is_a_standstill_until_it_ends(moving: Moving) -> None:
    beat = Heartbeat("journal", 60.0)
    told = [beat.problem]

    beat.begin("writes a batch")
    for moment in (59.0, 61.0):
        moving.now = moment
        told.append(beat.problem)
    beat.rest()
    told.append(beat.problem)

    assert told == [None, None, "the journal has not made progress for 61 s: it writes a batch", None]


def test_recent_values_are_forgotten(moving: Moving) -> None:
    values = RecentValues()
    assert (values.mean, values.maximum) == (0.0, 0.0)

    values.add(1.0)
    values.add(3.0)
    assert (values.mean, values.maximum) == (2.0, 3.0)

    moving.now = 11.0
    values.add(5.0)
    assert (values.mean, values.maximum) == (3.0, 5.0)
    moving.now = 22.0
    assert (values.mean, values.maximum) == (5.0, 5.0)
    moving.now = 90.0
    assert (values.mean, values.maximum) == (0.0, 0.0)


# --- lateness and appends


async def test_late_starts_are_a_problem_of_the_kernel_and_not_of_its_store() -> None:
    clock = VirtualClock()
    async with make_kernel(Job(id="job", func=quick, every=Duration(hours=1)), clock=clock) as kernel:
        assert kernel.health().state == "healthy"

        await clock.jump(HOUR + timedelta(seconds=3))
        health = kernel.health()

    assert (health.state, health.store_state) == ("degraded", "healthy")
    assert health.lateness_s >= 3.0
    assert re.match(
        r"starts are \d+\.\d s late, and the store takes (\d+|less than 1) ms for an append", health.problems["starts"]
    )
    assert (health.problem or "").startswith(health.problems["starts"])


async def test_what_was_due_before_the_kernel_started_is_not_late() -> None:
    clock, store = VirtualClock(), RecordingStore()
    job = Job(id="job", func=quick, every=Duration(hours=1))
    async with make_kernel(job, clock=clock, store=store):
        pass
    await clock.jump(5 * HOUR)

    async with make_kernel(job, clock=clock, store=store) as kernel:
        await clock.settle()

        assert store.recorded.types[-1] == "succeeded"
        assert kernel._leader._timetable.lateness_s == 0.0


class SlowStore(RecordingStore):
    """Takes no append until it is let, as a saturated one takes each of them late."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_asked = asyncio.Event()

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        self.is_asked.set()
        await self.gate.wait()
        await super().append(events, executions, jobs)


async def test_starts_that_wait_for_the_store_are_late(monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock = SlowStore(), VirtualClock()
    async with make_kernel(Job(id="job", func=quick), clock=clock, store=store) as kernel:
        store.gate.clear()
        store.is_asked.clear()
        asking = asyncio.create_task(kernel.trigger("job"))
        await store.is_asked.wait()
        waits = time.monotonic() + 3.4
        later = SimpleNamespace(monotonic=lambda: waits, perf_counter=time.perf_counter)
        monkeypatch.setattr("gnomon.engine.journal.time", later)

        during = kernel.health()
        store.gate.set()
        await asking
        after = kernel.health()

    assert during.problems["starts"] == "starts are 3.4 s late, and the store takes 3.4 s for an append"
    assert after.lateness_s > 1.0  # the mean of this commit and of the one at the start
    assert after.append_s < 3.0


class AbsentStore(RecordingStore):
    """Cannot append while it is away."""

    is_away = False

    def __init__(self) -> None:
        super().__init__()
        self.has_refused = asyncio.Event()

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        if self.is_away:
            asyncio.get_running_loop().call_soon(self.has_refused.set)
            raise StoreUnavailableError("the disk is full")
        await super().append(events, executions, jobs)


async def test_starts_that_wait_for_a_store_that_cannot_append_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock = AbsentStore(), VirtualClock()
    async with make_kernel(Job(id="job", func=quick), clock=clock, store=store) as kernel:
        store.is_away = True
        asking = asyncio.create_task(kernel.trigger("job"))
        await store.has_refused.wait()
        assert kernel.health().store_state == "degraded"
        waits = time.monotonic() + 3.4
        later = SimpleNamespace(monotonic=lambda: waits, perf_counter=time.perf_counter)
        monkeypatch.setattr("gnomon.engine.journal.time", later)
        problems = kernel.health().problems
        store.is_away = False
        await clock.advance(timedelta(minutes=1))
        await asking

    assert problems == {"starts": "starts are 3.4 s late: the store appends nothing (the disk is full)"}


async def test_late_starts_without_a_recent_append_do_not_blame_the_store(
    moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_kernel(Job(id="job", func=quick)) as kernel:
        moving.now = 100.0
        monkeypatch.setattr(type(kernel._leader._timetable), "lateness_s", 3.4)

        assert kernel.health().problems["starts"] == "starts are 3.4 s late"


async def test_a_problem_is_logged_when_it_comes_and_when_it_has_gone(moving: Moving) -> None:
    clock = VirtualClock()
    async with make_kernel(Job(id="job", func=quick, every=Duration(hours=1)), clock=clock) as kernel:
        assert kernel._leader._condition is not None
        await clock.jump(HOUR + timedelta(seconds=3))
        await clock.settle()
        with capture_logs() as logs:
            kernel._leader._condition.log_changes()
            kernel._leader._condition.log_changes()
            moving.now += 30
            kernel._leader._condition.log_changes()

    assert [(line["event"], line["log_level"]) for line in logs if line["component"] == "starts"] == [
        ("kernel degraded", "warning"),
        ("kernel recovered", "info"),
    ]


# --- a clock behind the log


async def test_a_clock_that_is_behind_the_log_is_named() -> None:
    store = RecordingStore()
    async with make_kernel(Job(id="job", func=quick), store=store, clock=VirtualClock(START + 2 * HOUR)):
        pass

    with capture_logs() as logs:
        async with make_kernel(Job(id="job", func=quick), store=store, clock=VirtualClock(START)) as kernel:
            health = kernel.health()

    assert (health.state, health.clock_behind_s) == ("degraded", 7200.0)
    assert "the clock of this machine is 2 h 00 m behind the newest event of the log" in (health.problem or "")
    assert [line["problem"] for line in logs if line["event"] == "kernel degraded"] == [health.problems["clock"]]


async def test_a_clock_behind_the_log_is_named_however_much_was_recorded_since() -> None:
    store = RecordingStore()
    async with make_kernel(Job(id="job", func=quick), store=store, clock=VirtualClock(START + 2 * HOUR)) as kernel:
        await kernel.wait((await kernel.trigger("job")).execution.id)
    async with make_kernel(Job(id="job", func=quick), store=store, clock=VirtualClock(START)) as kernel:
        for _ in range(100):  # of three events each
            await kernel.wait((await kernel.trigger("job")).execution.id)

    async with make_kernel(Job(id="job", func=quick), store=store, clock=VirtualClock(START)) as kernel:
        health = kernel.health()

    assert (health.state, health.clock_behind_s) == ("degraded", 7200.0)


async def test_a_clock_that_is_set_back_while_the_kernel_runs_is_named() -> None:
    clock = VirtualClock()
    async with make_kernel(Job(id="job", func=quick), clock=clock) as kernel:
        await kernel.trigger("job")
        await clock.jump(-HOUR)

        assert kernel.health().clock_behind_s == 3600.0
        assert "1 h 00 m behind" in (kernel.health().problem or "")


# --- components that end or stand still


@pytest.mark.parametrize("component", ["timetable", "journal", "progress recorder", "housekeeping"])
async def test_a_component_that_is_cancelled_fails_the_kernel(component: str) -> None:
    kernel = make_kernel(Job(id="job", func=quick))

    with pytest.raises(GnomonError, match=rf"the {component} of the kernel ended: CancelledError"):  # noqa: PT012
        async with kernel:
            (task,) = [task for task in asyncio.all_tasks() if task.get_name() == component]
            task.cancel()
            await asyncio.sleep(60)

    current = asyncio.current_task()
    assert current is not None
    assert not current.cancelling()


async def test_a_component_that_fails_is_logged_and_what_was_recorded_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("gnomon.engine.leader.HOUSEKEEPING_INTERVAL_S", 0.01)
    store = RecordingStore()
    kernel = make_kernel(Job(id="job", func=quick), store=store)

    with capture_logs() as logs, pytest.raises(GnomonError, match="housekeeping of the kernel ended: Zero"):  # noqa: PT012
        async with kernel:
            await kernel.trigger("job")
            monkeypatch.setattr(kernel._leader._dispatcher, "report_blocking", broken)
            await asyncio.sleep(60)

    assert [line["component"] for line in logs if line["event"] == "a component of the kernel failed"] == [
        "housekeeping"
    ]
    assert [event.type for event in store.recorded[-2:]] == ["succeeded", "kernel_stopped"]
    assert not kernel._leader._journal.backlog


async def test_a_standstill_is_told_while_the_loop_is_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Health is asked for from other threads, which see a timetable that no longer moves."""
    monkeypatch.setattr("gnomon.engine.timetable.STALLED_AFTER_S", 0.05)
    kernel = make_kernel(Job(id="job", func=quick))
    seen: list[Health] = []

    def look() -> None:
        deadline = time.monotonic() + 60
        while "timetable" not in (health := kernel.health()).problems and time.monotonic() < deadline:
            time.sleep(0.01)
        seen.append(health)

    async with kernel:
        await asyncio.sleep(0)  # until the timetable has begun
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()  # blocks the loop

    assert seen[0].stalled == ["timetable"]
    assert seen[0].problems["timetable"].startswith("the timetable has not made progress for 0 s: it ")


# --- triggers


class Breaking:
    """A trigger of the user that fails after some fires."""

    def __init__(self, error: BaseException, fires: int = 2) -> None:
        self.error = error
        self.fires = fires

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        self.fires -= 1
        if self.fires < 0:
            raise self.error
        return (previous or now) + HOUR


@pytest.mark.parametrize("error", [ValueError("no such day"), SystemExit(3), KeyboardInterrupt()], ids=repr)
async def test_health_names_a_job_whose_trigger_has_failed(error: BaseException) -> None:
    clock = VirtualClock()
    trigger: Any = Breaking(error)
    async with make_kernel(Job(id="broken", func=quick, trigger=trigger), clock=clock) as kernel:
        assert kernel.health().state == "healthy"

        await clock.advance(5 * HOUR)
        health = kernel.health()

        assert health.state == "degraded"
        assert "triggers failed: of job 'broken' (" in health.problems["triggers"]
        assert "correct its trigger and reload" in health.problems["triggers"]

        trigger.fires = 99
        await kernel.pause("broken")
        assert "triggers" not in kernel.health().problems
        await kernel.resume("broken")
        assert (await kernel.job("broken")).next_fire is not None
        assert "triggers" not in kernel.health().problems


async def test_health_names_some_of_many_jobs_whose_triggers_have_failed() -> None:
    clock = VirtualClock()
    triggers: list[Any] = [Breaking(ValueError("no"), fires=0) for _ in range(5)]
    jobs = [Job(id=f"job{number}", func=quick, trigger=trigger) for number, trigger in enumerate(triggers)]
    async with make_kernel(*jobs, clock=clock) as kernel:
        await clock.settle()
        problem = kernel.health().problems["triggers"]

    assert problem.count("of job ") == 3
    assert "; and 2 more;" in problem


async def test_a_job_whose_trigger_fails_can_be_removed() -> None:
    trigger: Any = Breaking(SystemExit(3), fires=1)
    clock = VirtualClock()
    async with make_kernel(Job(id="broken", func=quick, trigger=trigger), clock=clock) as kernel:
        await clock.advance(2 * HOUR)
        await kernel.apply_jobs([])

        assert "triggers" not in kernel.health().problems


async def test_a_plugin_that_needs_attention_degrades_the_kernel_which_accepts_runs() -> None:
    class Guard:
        problem: str | None = None

        @hookimpl
        def guard(self, job: Job, scheduled_time: datetime) -> None: ...

    guard = Guard()
    async with make_kernel(Job(id="job", func=quick), plugins=[guard]) as kernel:
        before = kernel.health()
        guard.problem = "the exchange's calendar cannot be read"
        health = kernel.health()
        guard.problem = None
        after = kernel.health()

    assert [(one.state, one.problems) for one in (before, after)] == [("healthy", {})] * 2
    assert (health.state, health.store_state, health.accepts_runs) == ("degraded", "healthy", True)
    assert health.problems == {"plugin Guard": "the exchange's calendar cannot be read"}
    assert health.problem == "the exchange's calendar cannot be read"
