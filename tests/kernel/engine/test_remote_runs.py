"""Runs whose bodies begin elsewhere, later, and outlive the kernel."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest

from elsewhere_runner import ElsewherePlugin
from gnomon import Execution, GnomonError, Job, JobError, PluginError, UnknownExecutionError
from gnomon.analysis.explain import explain
from gnomon.domain import events
from gnomon.runners.base import DurableLog
from gnomon.testing import EventList, RecordingStore, VirtualClock, make_kernel
from remote_bodies import CODE, WORKER, Elsewhere, OneLog, RemoteRunner, run_of

MINUTE = timedelta(minutes=1)


def nothing() -> None: ...


@pytest.fixture
def log(gnomon_clock: VirtualClock, gnomon_events: EventList) -> OneLog:
    return OneLog(gnomon_clock, gnomon_events)


@pytest.fixture
def there(log: OneLog) -> Elsewhere:
    return log.there


async def test_a_run_is_handed_over_begins_elsewhere_and_ends_with_what_it_returned(
    log: OneLog, gnomon_clock: VirtualClock, gnomon_events: EventList, there: Elsewhere
) -> None:
    async with log.kernel(run_of(steps=["fetch"], timeout=MINUTE)) as one:
        run_id = await log.handed_over(one)
        waiting, health = await one.execution(run_id), one.health()
        assert (health.running, health.waiting) == (0, 1)
        gnomon_clock._move(gnomon_clock.monotonic() + 90.0)  # longer than the timeout, which counts from its beginning
        await gnomon_clock.settle()
        there.begin(run_id, gnomon_clock.now())
        there.runs[run_id].context.report({"percent": 50.0}, immediately=True)
        await log.until(lambda: "progress" in gnomon_events.types)
        assert (one.health().running, one.health().waiting) == (1, 0)
        there.end(run_id, {"rows": 3})
        ended = await one.wait(run_id)

    assert (waiting.status, waiting.handed_to, waiting.queue) == ("scheduled", "elsewhere", "default")
    assert waiting.handed_over_at is not None
    assert (ended.status, ended.return_value, ended.worker, ended.runner) == (
        "success",
        {"rows": 3},
        WORKER,
        "elsewhere",
    )
    assert ended.delay == pytest.approx(90.0, abs=1.0)
    assert [step.name for step in ended.progress.steps] == ["fetch"]
    kinds = [event.type for event in gnomon_events if event.stream == run_id]
    assert kinds[:3] == ["scheduled", "handed_over", "started"]


async def test_a_fire_that_does_not_begin_within_its_grace_is_missed_and_says_why(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    start = gnomon_clock.now() + MINUTE
    async with log.kernel(run_of(at=start, grace=MINUTE)) as one:
        await gnomon_clock.advance(MINUTE)
        await log.until(lambda: there.runs)
        (run_id,) = there.runs
        placement = there.runs[run_id].placement
        assert placement is not None
        placement.waits("no worker consumes the queue 'default'")
        placement.waits("no worker consumes the queue 'default'")
        await gnomon_clock.advance(MINUTE + timedelta(seconds=1))
        ended = await one.wait(run_id)

    assert (ended.status, ended.reason) == ("missed", "capacity")
    assert "queue 'default'" in str(ended.detail)
    assert "no worker consumes" in str(ended.detail)
    assert ended.warning is None
    assert there.claims == {run_id: "withdrawn"}


async def test_a_fire_whose_body_begins_as_its_grace_ends_runs(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    async with log.kernel(run_of(at=gnomon_clock.now() + MINUTE, grace=MINUTE)) as one:
        await gnomon_clock.advance(MINUTE)
        await log.until(lambda: there.runs)
        (run_id,) = there.runs
        there.claims[run_id] = WORKER  # the kernel has not heard of it
        await gnomon_clock.advance(MINUTE + timedelta(seconds=1))
        there.note()
        there.end(run_id, "done")
        ended = await one.wait(run_id)

    assert (ended.status, ended.return_value) == ("success", "done")


async def test_a_run_that_waits_elsewhere_is_cancelled_and_never_begins(
    log: OneLog, gnomon_clock: VirtualClock, gnomon_events: EventList, there: Elsewhere
) -> None:
    async with log.kernel(run_of()) as one:
        run_id = await log.handed_over(one)
        await one.cancel(run_id, actor="ann", reason="not today")
        ended = await one.wait(run_id)

    assert (ended.status, ended.cancelled_by, ended.reason) == ("cancelled", "ann", "not today")
    assert there.claims == {run_id: "withdrawn"}
    assert not gnomon_events.of(events.Started)


async def test_a_running_body_elsewhere_is_asked_to_stop(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    async with log.kernel(run_of()) as one:
        run_id = await log.handed_over(one, begins=True)
        await one.cancel(run_id, actor="ann")
        assert run_id in there.cancelled
        there.end(run_id, cancelled=True)
        ended = await one.wait(run_id)

    assert (ended.status, ended.cancelled_by) == ("cancelled", "ann")


@pytest.mark.parametrize("begins", ["before", "between", "after"])
async def test_the_next_kernel_goes_on_with_what_an_earlier_one_handed_over(
    begins: str, log: OneLog, gnomon_clock: VirtualClock, gnomon_events: EventList, there: Elsewhere
) -> None:
    job = run_of(timeout=MINUTE, grace=MINUTE, at=gnomon_clock.now() + MINUTE)
    async with log.kernel(job):
        await gnomon_clock.advance(MINUTE)
        await log.until(lambda: there.runs)
        (run_id,) = there.runs
        if begins == "before":
            there.begin(run_id, gnomon_clock.now())
            there.runs[run_id].context.log_line("info", "one", "body", number=1)
            there.runs[run_id].context.log_line("info", "two", "body", number=2)
    assert not there.cancelled
    if begins == "between":
        assert there.claim(run_id, WORKER)
    async with log.kernel(job) as second:
        await log.until(lambda: there.runs)
        assert there.runs[run_id].is_adopted
        if begins == "after":
            there.begin(run_id, gnomon_clock.now())
        there.runs[run_id].context.log_line("info", "two", "body", number=2)
        there.runs[run_id].context.log_line("info", "three", "body", number=3)
        await gnomon_clock.settle()
        there.end(run_id, "done")
        ended = await second.wait(run_id)
        lines = [(line.number, line.text) for line in await second.log(run_id)]

    assert (ended.status, ended.return_value, ended.worker) == ("success", "done", WORKER)
    assert lines == ([(1, "one"), (2, "two"), (3, "three")] if begins == "before" else [(2, "two"), (3, "three")])
    kinds = [event.type for event in gnomon_events if event.stream == run_id]
    assert kinds == ["scheduled", "handed_over", "started", "succeeded"]


async def test_a_job_that_moved_to_a_thread_keeps_the_runs_that_are_elsewhere(
    log: OneLog, gnomon_clock: VirtualClock, gnomon_events: EventList, there: Elsewhere
) -> None:
    run_id = await log.left(run_of())
    async with log.kernel(Job(id="job", func=nothing, runner="thread")) as second:
        await log.until(lambda: there.runs)
        there.begin(run_id)
        there.end(run_id, "elsewhere")
        ended = await second.wait(run_id)
        in_thread = await second.wait(await log.triggered(second))

    assert (ended.runner, ended.return_value) == ("elsewhere", "elsewhere")
    assert in_thread.runner == "thread"
    assert len([event for event in gnomon_events.of(events.Started) if event.stream == run_id]) == 1


@pytest.mark.parametrize("has_begun", [True, False])
async def test_runs_of_a_removed_job_end_with_the_truth(
    has_begun: bool, log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    run_id = await log.left(run_of(), begins=has_begun)
    async with log.kernel() as second:
        if has_begun:
            there.end(run_id, "done")
        ended = await second.wait(run_id)

    expected = ("success", None) if has_begun else ("cancelled", "the job was removed")
    assert (ended.status, ended.reason) == expected


async def test_runs_of_a_runner_that_is_gone_are_lost_and_say_so(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    run_id = await log.left(run_of())
    async with log.kernel(Job(id="job", func=nothing), plugins=[]) as second:
        ended = await second.execution(run_id)

    assert (ended.status, ended.reason) == ("failed", "lost")
    assert "runner 'elsewhere', which this kernel does not have" in str(ended.error_message)


async def test_a_run_whose_worker_is_gone_is_lost_and_retried(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    async with log.kernel(run_of(retry={"attempts": 2, "delay": timedelta(seconds=1)})) as one:
        run_id = await log.handed_over(one, begins=True)
        there.end(run_id, error_type="WorkerLost", error_message="worker@host is gone", reason="lost")
        ended = await one.wait(run_id)
        await gnomon_clock.advance(2.0)
        await log.until(lambda: len(there.runs) == 2)

    assert (ended.status, ended.reason, ended.error_message) == ("failed", "lost", "worker@host is gone")


async def test_a_run_that_waits_elsewhere_holds_its_slot_and_can_be_marked_as_failed(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    async with log.kernel(run_of()) as one:
        first = await log.triggered(one)
        second = await log.triggered(one)
        await log.until(lambda: there.sent)
        assert there.sent == [first]
        await one.fail(first, "nobody works today", actor="ann")
        await log.until(lambda: len(there.sent) == 2)
        ended = await one.execution(first)

    assert there.sent == [first, second]
    assert (ended.status, ended.reason, ended.error_message) == ("failed", "marked", "nobody works today")
    assert there.claims[first] == "withdrawn"


async def test_a_silent_body_elsewhere_ends_by_its_silence(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    async with log.kernel(run_of(silence=MINUTE, cancel_grace=timedelta(seconds=1))) as one:
        run_id = await log.handed_over(one, begins=True)
        await gnomon_clock.advance(2 * MINUTE)
        ended = await one.wait(run_id)
        assert run_id in there.cancelled
        there.end(run_id, "late")
        await gnomon_clock.until(lambda: one.health().running == 0)

    assert (ended.status, ended.reason) == ("failed", "silence")


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (Job(id="job", func=nothing, runner="elsewere"), "'elsewere' is not there"),
        (Job(id="job", func=lambda: None, runner="elsewhere"), "another process cannot import"),
        (run_of(limits={"memory": 10**9}), "which the runner 'elsewhere' cannot enforce"),
    ],
)
async def test_a_job_that_a_runner_cannot_run_is_refused(job: Job, expected: str, log: OneLog) -> None:
    with pytest.raises(JobError, match=expected):
        async with log.kernel(job):
            pass


async def test_a_remote_job_is_added_at_run_time_and_comes_back(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    async with log.kernel() as one:
        await one.add_job(run_of())
        with pytest.raises(JobError, match="is not there"):
            await one.add_job(Job(id="other", func="gc:collect", runner="nowhere"))
    async with log.kernel() as second:
        run_id = await log.triggered(second)
        await log.until(lambda: there.sent)
        there.begin(run_id)
        there.end(run_id, 5)
        assert (await second.wait(run_id)).return_value == 5


@pytest.mark.parametrize("name", ["thread", "No Name", 5])
def test_a_runner_with_a_name_that_cannot_be_used_is_refused(name: Any, there: Elsewhere) -> None:
    runner = RemoteRunner(there)
    runner.name = name  # type: ignore[misc]

    with pytest.raises(PluginError, match="runner"):
        make_kernel(plugins=[ElsewherePlugin(runner)])


async def test_explain_tells_of_the_queue_and_of_the_worker(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    due = gnomon_clock.now() + MINUTE
    async with log.kernel(run_of(every=MINUTE, options={"queue": "reports"}, max_instances=2, overlap="allow")) as one:

        async def told(fire: datetime) -> str:
            await asyncio.shield(one._leader._journal.durable())
            return " ".join((await explain(one._store, "job", fire, gnomon_clock.now())).sentences)

        await gnomon_clock.advance(MINUTE)
        await log.until(lambda: there.runs)
        (run_id,) = there.runs
        placement = there.runs[run_id].placement
        assert placement is not None
        placement.waits("no worker consumes the queue 'reports'")
        waiting, view = await told(due), await one.job("job")
        await gnomon_clock.advance(timedelta(seconds=20))
        there.begin(run_id, gnomon_clock.now())
        there.end(run_id)
        await one.wait(run_id)
        ran = await told(due)
        await gnomon_clock.advance(timedelta(seconds=40))
        await log.until(lambda: len(there.runs) == 2)
        second = next(one for one in there.runs if one != run_id)
        await one.cancel(second, actor="ann")
        await one.wait(second)
        withdrawn = await told(due + MINUTE)

    assert (view.running, view.waiting) == ([], [run_id])
    assert "handed over to queue reports at" in waiting
    assert "no worker has begun it. The queue has stood still since" in waiting
    assert ": no worker consumes the queue 'reports'." in waiting
    assert "ran late, by 20.0 s" in ran
    assert f"and {WORKER} began it at" in ran
    assert f"20.0 s later, with {CODE}. The queue has stood still since" in ran
    assert "and no worker began it." in withdrawn
    assert "cancelled before it started by ann" in withdrawn


async def test_the_next_kernel_knows_which_reports_are_recorded(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    async with log.kernel(run_of()) as one:
        run_id = await log.handed_over(one, begins=True)
        there.runs[run_id].context.report({"percent": 10.0, "number": 2})
        there.runs[run_id].context.report({"step": "load", "number": 3}, immediately=True)
        there.runs[run_id].context.report({"percent": 20.0, "number": 4})
        await gnomon_clock.advance(1.0)
    async with log.kernel(run_of()):
        await log.until(lambda: there.runs)

        assert there.runs[run_id].execution.progress.number == 4


async def test_the_log_has_the_lines_of_a_run_before_it_has_its_end(
    log: OneLog,
    gnomon_clock: VirtualClock,
    gnomon_events: EventList,
    there: Elsewhere,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[list[str]] = []
    append_log = RecordingStore.append_log

    async def watched(store: RecordingStore, execution_id: str, lines: Any, oldest: int = 1) -> None:
        await append_log(store, execution_id, lines, oldest)
        kept.append(gnomon_events.types)

    monkeypatch.setattr(RecordingStore, "append_log", watched)
    async with log.kernel(run_of()) as one:
        run_id = await log.handed_over(one, begins=True)
        there.runs[run_id].context.log_line("info", "the last words", "body", number=1)
        there.end(run_id)
        await one.wait(run_id)

    assert kept
    assert not any("succeeded" in types for types in kept)
    assert gnomon_events.types[-1] == "succeeded"


class Broken(RemoteRunner):
    """Its methods raise."""

    where: ClassVar[str]

    def queue_of(self, job: Job) -> str:
        raise ZeroDivisionError("queue_of")

    def withdraw(self, execution_id: str) -> None:
        super().withdraw(execution_id)
        raise ZeroDivisionError("withdraw")

    def cancel(self, execution_id: str) -> None:
        raise ZeroDivisionError("cancel")

    def adopt(self, execution: Execution) -> bool:
        raise ZeroDivisionError("adopt")


async def test_a_runner_that_raises_hurts_only_its_runs(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    plugins = [ElsewherePlugin(Broken(there))]
    async with log.kernel(run_of(max_instances=5), plugins=plugins) as one:
        cancelled = await log.triggered(one)
        left = await log.triggered(one)
        await log.until(lambda: len(there.sent) == 2)
        await one.cancel(cancelled)
        assert (await one.wait(cancelled)).status == "cancelled"
    async with log.kernel(run_of(max_instances=5), plugins=[ElsewherePlugin(Broken(there))]) as second:
        ended = await second.execution(left)

    assert (ended.status, ended.reason) == ("failed", "lost")
    assert "ZeroDivisionError: adopt" in str(ended.error_message)


async def test_what_a_run_reports_after_its_end_changes_nothing(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    async with log.kernel(run_of()) as one:
        run_id = await log.handed_over(one, begins=True)
        there.end(run_id, 1)
        await one.wait(run_id)
        run = there.runs[run_id]
        assert run.placement is not None
        run.placement.begun("another", gnomon_clock.now())
        run.placement.waits("late")
        ended = await one.execution(run_id)
        with pytest.raises(UnknownExecutionError):
            await one.execution("f" * 24)

    assert (ended.worker, ended.warning) == (WORKER, None)


class Started(RemoteRunner):
    """Notes when it is entered and left."""

    def __init__(self, elsewhere: Elsewhere) -> None:
        super().__init__(elsewhere)
        self.logs: list[DurableLog] = []
        self.is_entered = False

    @contextlib.asynccontextmanager
    async def lifespan(self, durable_log: DurableLog) -> AsyncIterator[None]:
        self.logs.append(durable_log)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(0))
            self.is_entered = True
            yield
            await asyncio.shield(durable_log.durable())
            self.is_entered = False


async def test_a_runner_is_entered_once_in_each_term_and_knows_the_log(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    runner = Started(there)
    for _ in range(2):
        async with log.kernel(run_of(), plugins=[ElsewherePlugin(runner)]) as one:
            assert runner.is_entered
            await log.triggered(one)
        assert not runner.is_entered

    first, second = runner.logs
    assert first.log_id == second.log_id
    assert first.term < second.term


class Unstartable(RemoteRunner):
    """Its lifespan raises."""

    @contextlib.asynccontextmanager
    async def lifespan(self, durable_log: DurableLog) -> AsyncIterator[None]:
        if durable_log.log_id:
            raise ZeroDivisionError("no server")
        yield


async def test_a_runner_that_cannot_be_started_stops_the_start_and_is_named(log: OneLog, there: Elsewhere) -> None:
    with pytest.raises(GnomonError, match=r"runner 'elsewhere' could not be started: ZeroDivisionError: no server"):
        async with log.kernel(plugins=[ElsewherePlugin(Unstartable(there))]):
            pass


async def test_a_fire_that_overlaps_a_run_in_a_queue_does_not_call_it_running(
    log: OneLog, gnomon_clock: VirtualClock, gnomon_events: EventList, there: Elsewhere
) -> None:
    async with log.kernel(run_of(every=MINUTE)) as one:
        await gnomon_clock.advance(MINUTE)
        await log.until(lambda: there.sent)
        await gnomon_clock.advance(MINUTE)
        await log.until(lambda: "missed" in gnomon_events.types)
        there.begin(there.sent[0], gnomon_clock.now())
        await gnomon_clock.advance(MINUTE)
        await log.until(lambda: gnomon_events.types.count("missed") == 2)
        first, second = gnomon_events.of(events.Missed)
        there.end(there.sent[0])
        await one.wait(there.sent[0])

    run = there.sent[0]
    assert first.detail == f"run {run} was still waiting in queue 'default', and overlap is 'skip'"
    assert second.detail == f"run {run} was still running, and overlap is 'skip'"


async def test_explain_tells_which_run_in_a_queue_another_one_waits_for(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    due = gnomon_clock.now() + MINUTE
    async with log.kernel(run_of(every=MINUTE, overlap="queue", options={"queue": "reports"})) as one:
        await gnomon_clock.advance(MINUTE)
        await log.until(lambda: there.sent)
        await gnomon_clock.advance(MINUTE)
        await log.until(lambda: len(there.sent) == 1)
        await asyncio.shield(one._leader._journal.durable())
        found = await explain(one._store, "job", due + MINUTE, gnomon_clock.now())

    said = " ".join(found.sentences)
    assert f"It is waiting for run {there.sent[0]} of this job, which was handed over to queue" in said
    assert "and which no worker has begun." in said


async def test_a_body_that_does_not_stop_is_not_said_to_run_for_ever(
    log: OneLog, gnomon_clock: VirtualClock, there: Elsewhere
) -> None:
    async with log.kernel(run_of(timeout=MINUTE, cancel_grace=timedelta(seconds=3))) as one:
        run_id = await log.handed_over(one, begins=True)
        await gnomon_clock.advance(MINUTE)
        await gnomon_clock.advance(timedelta(seconds=3))
        ended = await one.wait(run_id)

    assert (ended.status, ended.reason) == ("failed", "timeout")
    assert str(ended.error_message).endswith("the body was asked to stop, and had not stopped 3s later")
