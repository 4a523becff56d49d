"""Jobs that are added at run time: they live in the log, and come back with everything that was known of them."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from apscheduler.triggers.interval import IntervalTrigger
from structlog.testing import capture_logs

from gnomon import (
    Duration,
    ForeignJobError,
    GnomonError,
    Job,
    JobConflictError,
    JobError,
    JobExistsError,
    Kernel,
    Retry,
    TriggerError,
    UnknownJobError,
    job,
)
from gnomon.analysis.audit import audit
from gnomon.domain.events import JobAdded, JobChanged, JobPaused, JobRemoved, JobResumed, Missed, Scheduled, Succeeded
from gnomon.testing import RecordingStore, VirtualClock, check_store, make_kernel
from gnomon.testing.clock import START

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
HOURLY: dict[str, Any] = {"every": Duration(hours=1)}
HERE = __name__
gate = asyncio.Event()


def quick() -> None: ...


def breaks() -> None:
    raise ValueError("as told")


async def slow() -> None:
    await asyncio.Event().wait()


@job(id="declared", timeout="5m")
def decorated(number: int = 1) -> int:
    return number


class Worker:
    def method(self) -> None: ...


class World:
    """A log, and one kernel after the other on it."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.store = RecordingStore()

    def kernel(self, *jobs: Any, **settings: Any) -> Kernel:
        return make_kernel(*jobs, clock=self.clock, store=self.store, **settings)

    async def kill(self, kernel: Kernel) -> None:
        """End a kernel as a killed process does: it records nothing more."""
        kernel._leader._journal._stop("deposed", "killed")
        with pytest.raises(GnomonError):
            await kernel.pause("no such job")
        await kernel.__aexit__(RuntimeError, RuntimeError("killed"), None)

    async def prove(self) -> None:
        now = self.clock.now()
        report = await audit(self.store, now - timedelta(days=60), now, decided_until=now)
        assert report.is_proved, [(one.job_id, one.findings) for one in report.jobs if one.findings]
        await check_store(self.store)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def tasks() -> Iterator[ModuleType]:
    """A module whose functions come and go."""
    module = ModuleType("tasks_that_go")
    module.send = quick  # type: ignore[attr-defined]
    sys.modules["tasks_that_go"] = module
    yield module
    del sys.modules["tasks_that_go"]


# --- what can live in the log


async def refusal(kernel: Kernel, *args: Any, **keys: Any) -> str:
    with pytest.raises(GnomonError) as refused:
        await kernel.add_job(*args, **keys)
    return str(refused.value)


async def test_a_job_that_the_log_could_not_bring_back_is_refused_with_the_remedy(world: World) -> None:
    def nested() -> None: ...

    async with world.kernel() as kernel:
        for func in (lambda: None, nested, Worker().method):
            assert "temporary=True" in await refusal(kernel, Job(id="x", func=func))
        assert "trigger is an object" in await refusal(
            kernel, Job(id="x", func=quick, trigger=IntervalTrigger(minutes=1))
        )
        assert [view.job.id for view in await kernel.jobs()] == []

        await kernel.add_job(Job(id="x", func=lambda: None, trigger=IntervalTrigger(minutes=1)), temporary=True)
        assert [view.job.id for view in await kernel.jobs()] == ["x"]


async def test_functions_are_kept_as_text(world: World) -> None:
    async with world.kernel(decorated) as kernel:
        by_function = await kernel.add_job(Job(id="a", func=quick))
        by_name = await kernel.add_job(Job(id="b", func=f"{HERE}:quick"))
        by_id = await kernel.add_job(Job(id="c", func="declared", kwargs={"number": 7}))
        run = await kernel.wait((await kernel.trigger("c")).execution.id)
        unknown = await refusal(kernel, Job(id="d", func="decleared"))

    assert (by_function.func, by_name.func, by_id.func) == (f"{HERE}:quick", f"{HERE}:quick", "declared")
    assert (run.return_value, by_id.timeout) == (7, None)
    assert "neither" in unknown


# --- restarts


async def test_jobs_come_back_with_their_definition_pause_and_anchor(world: World) -> None:
    async with world.kernel(decorated) as kernel:
        await world.clock.advance(10 * MINUTE)
        await kernel.add_job(Job(id="hourly", func=quick, **HOURLY, tags=["a"]), actor="ann", owner="t7")
        await kernel.add_job(Job(id="held", func=quick, **HOURLY))
        await kernel.add_job(Job(id="c", func="declared", every=Duration(hours=2)))
        await kernel.pause("held", actor="ann", reason="later")
        before = {view.job.id: (view.job, view.state, view.next_fire) for view in await kernel.jobs()}
        await world.clock.advance(HOUR)
    await world.clock.advance(MINUTE)
    async with world.kernel(decorated) as kernel:
        after = {view.job.id: (view.job, view.state, view.next_fire) for view in await kernel.jobs()}
        await world.clock.advance(2 * HOUR)
        await world.prove()

    assert after.keys() == before.keys() == {"hourly", "held", "c", "declared"}
    assert after["hourly"][0] == before["hourly"][0]
    assert after["hourly"][1].anchor == START + 10 * MINUTE
    assert (after["hourly"][1].owner, after["hourly"][1].origin) == ("t7", "api")
    assert after["hourly"][2] == START + 130 * MINUTE
    assert (after["held"][1].paused_by, after["held"][2]) == ("ann", None)
    assert len(world.store.recorded.of(JobAdded)) == 4  # nothing was added twice
    assert world.store.recorded.of(JobRemoved) == []


@pytest.mark.parametrize(("catch_up", "runs"), [("latest", 1), ("all", 3), ("none", 0)])
async def test_a_downtime_is_decided_by_catch_up(world: World, catch_up: Any, runs: int) -> None:
    async with world.kernel() as kernel:
        await kernel.add_job(Job(id="hourly", func=quick, **HOURLY, catch_up=catch_up))
    await world.clock.advance(3.5 * HOUR)
    async with world.kernel():
        await world.clock.settle()
        await world.prove()

    assert len(world.store.recorded.of(Scheduled)) == runs
    assert sum(event.count for event in world.store.recorded.of(Missed)) == 3 - runs


async def test_a_start_replaces_only_what_is_defined(world: World) -> None:
    async with world.kernel(Job(id="code", func=quick, **HOURLY)) as kernel:
        await kernel.add_job(Job(id="added", func=quick, **HOURLY))
    async with world.kernel() as kernel:
        assert [view.job.id for view in await kernel.jobs()] == ["added"]
        await kernel.apply_jobs([Job(id="other", func=quick)])
        assert [view.job.id for view in await kernel.jobs()] == ["added", "other"]


async def test_an_id_that_two_claim_is_an_error_that_names_both(world: World) -> None:
    async with world.kernel() as kernel:
        await kernel.add_job(Job(id="both", func=quick, **HOURLY), owner="t7")
        with pytest.raises(JobExistsError, match="added at run time and belongs to 't7', and the program defines"):
            await kernel.apply_jobs([Job(id="both", func=quick)])
    before = len(world.store.recorded)
    with pytest.raises(JobExistsError, match="'both' was added at run time"):
        async with world.kernel(Job(id="both", func=quick)):
            pass
    recorded = [type(event).__name__ for event in world.store.recorded[before:]]
    assert recorded == ["KernelStarted", "KernelLed", "KernelStopped"]


@pytest.mark.parametrize("ending", ["stopped", "killed"])
async def test_a_temporary_job_ends_with_its_kernel(world: World, ending: str) -> None:
    def nested() -> None: ...

    kernel = await world.kernel().__aenter__()
    await kernel.add_job(Job(id="short", func=nested, **HOURLY), temporary=True)
    await world.clock.advance(90 * MINUTE)
    if ending == "stopped":
        await kernel.__aexit__(None, None, None)
    else:
        await world.kill(kernel)
    await world.clock.advance(2 * HOUR)
    async with world.kernel(Job(id="short", func=quick)) as kernel:  # its id is free
        (view,) = await kernel.jobs()
        await world.prove()

    (removed,) = world.store.recorded.of(JobRemoved)
    assert removed.by_kernel
    assert "temporary" in str(removed.reason)
    assert view.state.origin == "code"


async def test_a_job_that_cannot_be_built_is_kept_and_held_until_it_can(world: World, tasks: ModuleType) -> None:
    async with world.kernel() as kernel:
        await kernel.add_job(Job(id="a", func="tasks_that_go:send", **HOURLY))
        await kernel.add_job(Job(id="once", func="tasks_that_go:send", at=START + 2 * HOUR))
        await world.clock.advance(90 * MINUTE)
    send = tasks.send
    del tasks.send
    with capture_logs() as logs:
        async with world.kernel() as kernel:
            await world.clock.advance(2 * HOUR)
            view = await kernel.job("a")
            health = kernel.health()
            with pytest.raises(JobError, match="cannot run: func 'tasks_that_go:send'"):
                await kernel.trigger("a")
            with pytest.raises(JobError, match="cannot be resumed"):
                await kernel.resume("a")
            await world.prove()
    async with world.kernel():  # a second time
        await world.prove()
    tasks.send = send  # type: ignore[attr-defined]
    async with world.kernel() as kernel:
        await world.clock.advance(HOUR)
        jobs = [view.job.id for view in await kernel.jobs()]
        assert kernel.health().problems == {}
        await world.prove()

    assert (view.state.paused_by, view.next_fire) == ("kernel", None)
    assert "has no 'send'" in str(view.state.problem)
    assert "'a'" in health.problems["jobs"]
    assert any(line["event"].startswith("a job cannot run") for line in logs)
    assert len(world.store.recorded.of(JobPaused)) == len(world.store.recorded.of(JobResumed)) == 2
    runs = {event.job_id for event in world.store.recorded.of(Scheduled)}
    assert (runs, jobs) == ({"a", "once"}, ["a"])  # the one-shot ran late, and was removed


async def test_a_change_mends_a_job_and_its_accepted_runs_start(world: World, tasks: ModuleType) -> None:
    kernel = await world.kernel(max_running=1).__aenter__()
    await kernel.add_job(Job(id="busy", func=slow))
    await kernel.trigger("busy")
    await kernel.add_job(Job(id="a", func="tasks_that_go:send"))
    accepted = (await kernel.trigger("a")).execution.id
    await world.kill(kernel)
    del tasks.send
    async with world.kernel() as kernel:
        await world.clock.settle()
        assert (await kernel.execution(accepted)).status == "scheduled"

        await kernel.change_job("a", func=f"{HERE}:quick")
        await world.clock.settle()
        assert (await kernel.execution(accepted)).status == "success"
        assert not (await kernel.job("a")).state.paused


@pytest.mark.parametrize("how", ["removed", "replaced", "rescheduled"])
async def test_the_fires_of_a_job_that_cannot_be_built_are_settled_when_its_schedule_ends(
    world: World, tasks: ModuleType, how: str
) -> None:
    async with world.kernel() as kernel:
        await kernel.add_job(Job(id="a", func="tasks_that_go:send", at=START + HOUR), owner="me")
        await kernel.add_job(Job(id="many", func="tasks_that_go:send", every=Duration(minutes=30)), owner="me")
    await world.clock.advance(2 * HOUR)
    del tasks.send
    async with world.kernel() as kernel:
        if how == "replaced":
            await kernel.apply_jobs([], owner="me")
        for job_id in ("a", "many") if how != "replaced" else ():
            if how == "removed":
                await kernel.remove_job(job_id)
            else:
                await kernel.change_job(job_id, func=f"{HERE}:quick", every=Duration(hours=3), at=None)
        await world.prove()

    missed = [(event.job_id, event.count, event.reason) for event in world.store.recorded.of(Missed)]
    assert missed == [("a", 1, "paused"), ("many", 4, "paused")]
    assert {event.detail for event in world.store.recorded.of(Missed)} == {
        "the kernel held the job, which could not run"
    }


async def test_the_audit_does_not_judge_a_schedule_that_cannot_be_built_when_its_job_is_removed(world: World) -> None:
    definition = {"id": "a", "func": f"{HERE}:quick", "cron": "0 25 * * *"}
    async with world.kernel() as kernel:  # as another version has written it
        kernel._leader._journal.record(JobAdded, "job:a", "a", definition=definition, origin="api")
    await world.clock.advance(HOUR)
    async with world.kernel() as kernel:
        await kernel.remove_job("a")
        report = await audit(world.store, START, world.clock.now(), decided_until=world.clock.now())

    assert (report.is_proved, report.jobs[0].findings) == (True, [])
    assert "its definition in the log cannot be built here" in report.jobs[0].unproved[0].reason


@pytest.mark.parametrize("keys", [{"every": "0.001ms"}, {"schedules": [{"every": "0.5ms"}, {"every": "1h"}]}])
async def test_a_job_of_an_older_version_that_fires_too_fast_is_held_and_can_be_removed(
    world: World, keys: dict[str, Any]
) -> None:
    definition = {"id": "a", "func": f"{HERE}:quick", "timezone": "UTC", **keys}
    async with world.kernel() as kernel:
        kernel._leader._journal.record(JobAdded, "job:a", "a", definition=definition, origin="api")
    async with world.kernel() as kernel:
        await world.clock.advance(MINUTE)
        problem = str((await kernel.job("a")).problem)
        with pytest.raises(TriggerError, match="must be 1ms or longer"):
            await kernel.add_job(Job(id="b", func=quick, **keys))
        await kernel.remove_job("a")

    assert "an interval must be 1ms or longer" in problem
    assert world.store.recorded.of(Scheduled) == []


async def test_an_operators_pause_outlives_the_problem(world: World, tasks: ModuleType) -> None:
    async with world.kernel() as kernel:
        await kernel.add_job(Job(id="a", func="tasks_that_go:send", **HOURLY))
    send = tasks.send
    del tasks.send
    async with world.kernel() as kernel:
        assert await kernel.pause("a", actor="ann")
    tasks.send = send  # type: ignore[attr-defined]
    async with world.kernel() as kernel:
        await world.clock.advance(3 * HOUR)
        assert (await kernel.job("a")).state.paused_by == "ann"
        await kernel.resume("a")
        await world.clock.settle()
        await world.prove()


async def test_a_reload_that_removes_a_defined_job_holds_those_that_use_its_function(world: World) -> None:
    async with world.kernel(decorated) as kernel:
        await kernel.add_job(Job(id="c", func="declared", **HOURLY))
        await kernel.apply_jobs([])
        held = await kernel.job("c")
        await kernel.apply_jobs([decorated])
        await world.clock.advance(HOUR)
        back = await kernel.job("c")
        await world.prove()

    assert (held.state.paused, "neither" in str(held.state.problem)) == (True, True)
    assert (back.state.paused, back.state.problem) == (False, None)
    assert len(world.store.recorded.of(Succeeded)) == 1


async def test_a_definition_that_this_version_refuses_is_kept_until_it_is_changed(world: World) -> None:
    definition = {"id": "a", "func": f"{HERE}:quick", "cron": "0 25 * * *", "name": "Prices", "newer": 1}
    async with world.kernel() as kernel:  # as another version has written it
        kernel._leader._journal.record(JobAdded, "job:a", "a", definition=definition, origin="api")
    async with world.kernel() as kernel:
        view = await kernel.job("a")
        await world.clock.advance(3 * HOUR)
        assert (await kernel.change_job("a", cron="0 * * * *")).name == "Prices"
        await world.clock.advance(HOUR)
        mended = await kernel.job("a")
        await world.prove()

    assert (view.job.name, view.job.cron, view.state.definition) == ("Prices", "0 25 * * *", definition)
    assert "newer: unknown key" in str(view.state.problem)
    assert (mended.state.paused, mended.state.problem) == (False, None)
    assert len(world.store.recorded.of(Succeeded)) == 1
    assert world.store.recorded.of(JobRemoved) == []


async def test_a_start_names_the_jobs_of_an_older_version_that_it_drops(world: World) -> None:
    async with world.kernel(Job(id="old", func=quick)) as kernel:
        await kernel.apply_jobs([Job(id="old", func=quick), Job(id="added", func=quick)], actor="ann", reason="by ann")
    with capture_logs() as logs:
        async with world.kernel():
            pass

    (line,) = [line for line in logs if "older version" in line["event"]]
    assert line["jobs"] == "added"


# --- a job that a job waits for, or its group, is gone


LOAD = Job(id="load", func=quick, **HOURLY)
DOWN = Job(id="down", func=f"{HERE}:quick", after=["load"])


@pytest.mark.parametrize("how", ["reload", "restart"])
async def test_a_job_whose_upstream_is_gone_is_held_until_it_is_back(world: World, how: str) -> None:
    async with world.kernel(LOAD) as kernel:
        await kernel.add_job(DOWN)
        await world.clock.advance(90 * MINUTE)
        if how == "reload":
            with capture_logs() as logs:
                await kernel.apply_jobs([])
            held, health = await kernel.job("down"), kernel.health()
    if how == "restart":
        with capture_logs() as logs:
            async with world.kernel() as kernel:
                held, health = await kernel.job("down"), kernel.health()
                with pytest.raises(JobError, match="cannot run: after names 'load'"):
                    await kernel.trigger("down")
    async with world.kernel() as kernel:
        await kernel.apply_jobs([LOAD])
        back = await kernel.job("down")
        assert kernel.health().problems == {}
        await world.clock.advance(HOUR)
        await world.prove()

    assert held.problem == held.state.problem == "after names 'load', and there is no such job"
    assert (held.state.paused_by, back.state.paused, back.problem) == ("kernel", False, None)
    assert "'down'" in health.problems["jobs"]
    assert any(line["event"].startswith("a job cannot run") and line["job"] == "down" for line in logs)
    assert [event.job_id for event in world.store.recorded.of(Succeeded)].count("down") == 2


async def test_an_order_that_adds_the_missing_upstream_releases_what_waits_for_it(world: World) -> None:
    upstream = Job(id="load", func=f"{HERE}:quick", **HOURLY)
    async with world.kernel(LOAD, Job(id="other", func=quick, **HOURLY)) as kernel:
        await kernel.add_job(DOWN)
        await kernel.add_job(Job(id="both", func=f"{HERE}:quick", after=["load", "other"]))
        await kernel.apply_jobs([])
        await kernel.add_job(upstream)
        views = [await kernel.job("down"), await kernel.job("both")]
        with pytest.raises(JobError, match="start after it"):
            await kernel.remove_job("load")
        await world.clock.advance(HOUR)
        await world.prove()

    assert [view.state.paused for view in views] == [False, True]
    assert str(views[1].problem).startswith("after names 'other', and there is no such job")
    assert {event.job_id for event in world.store.recorded.of(Succeeded)} == {"load", "down"}


async def test_a_run_in_line_starts_once_after_its_job_was_held_and_released(world: World) -> None:
    async with world.kernel(LOAD, Job(id="busy", func=slow), max_running=1) as kernel:
        await kernel.add_job(DOWN)
        busy = (await kernel.trigger("busy")).execution.id
        await kernel.trigger("down")
        await kernel.apply_jobs([Job(id="busy", func=slow)])
        await kernel.apply_jobs([LOAD, Job(id="busy", func=slow)])
        waiting = (await kernel.job("down")).waiting
        await kernel.cancel(busy)
        await world.clock.settle()

    assert len(waiting) == 1
    assert len(world.store.recorded.of(Succeeded)) == 1


async def test_a_job_whose_group_is_gone_is_held_until_it_is_back(world: World) -> None:
    async with world.kernel(groups={"wh": 1}) as kernel:
        await kernel.add_job(Job(id="a", func=f"{HERE}:quick", group="wh", overlap="allow", **HOURLY))
    async with world.kernel(groups={"hw": 1}) as kernel:
        held = await kernel.job("a")
        with pytest.raises(JobError, match="cannot run: the group 'wh' is not defined"):
            await kernel.trigger("a")
        await world.clock.advance(90 * MINUTE)
    async with world.kernel(groups={"wh": 1}) as kernel:
        await world.clock.settle()
        back = await kernel.job("a")
        await world.prove()
    async with world.kernel() as kernel:
        await kernel.change_job("a", group=None)
        mended = await kernel.job("a")

    assert str(held.problem).startswith("the group 'wh' is not defined; the groups are hw;")
    assert (held.state.paused_by, held.next_fire) == ("kernel", None)
    assert (back.state.paused, back.problem, mended.state.paused, mended.problem) == (False, None, False, None)
    assert len(world.store.recorded.of(Succeeded)) == 1  # the fire that was held


# --- orders


async def test_an_id_that_exists_is_refused_unless_it_is_replaced(world: World) -> None:
    async with world.kernel(Job(id="code", func=quick)) as kernel:
        await kernel.add_job(Job(id="a", func=quick, **HOURLY))
        await world.clock.advance(30 * MINUTE)
        with pytest.raises(JobExistsError):
            await kernel.add_job(Job(id="a", func=quick))
        with pytest.raises(JobExistsError):
            await kernel.add_job(Job(id="code", func=quick))
        with pytest.raises(ForeignJobError, match="the program defines it"):
            await kernel.add_job(Job(id="code", func=quick), replace=True)
        await kernel.add_job(Job(id="a", func=quick, **HOURLY, name="A"), replace=True, actor="ann")
        next_fire = (await kernel.job("a")).next_fire

    (changed,) = world.store.recorded.of(JobChanged)
    assert (changed.changes, changed.rescheduled, next_fire) == ({"name": "A"}, False, START + HOUR)


async def test_a_change_is_recorded_as_the_difference(world: World) -> None:
    async with world.kernel() as kernel:
        await kernel.add_job(Job(id="a", func=quick, **HOURLY, name="A", tags=["x"]))
        changed = await kernel.change_job("a", name=None, cron="*/30 * * * *", actor="ann", reason="more often")
        with pytest.raises(JobError) as wrong:
            await kernel.change_job("a", overlap="never", retyr={}, cron="61 * * * *")
        with pytest.raises(JobError, match="pause or resume"):
            await kernel.change_job("a", paused=True)
        await world.clock.advance(HOUR)
        await world.prove()

    (event,) = world.store.recorded.of(JobChanged)
    assert event.changes == {"name": None, "every": None, "cron": "*/30 * * * *"}
    assert (event.rescheduled, event.actor, event.reason) == (True, "ann", "more often")
    assert (changed.name, changed.every, changed.tags) == ("", None, ["x"])
    assert "overlap" in str(wrong.value)
    assert "retyr" in str(wrong.value)
    assert len(world.store.recorded.of(Scheduled)) == 2


async def test_a_lost_update_is_refused(world: World) -> None:
    async with world.kernel() as kernel:
        await kernel.add_job(Job(id="a", func=quick, **HOURLY))
        version = (await kernel.job("a")).state.version
        await kernel.change_job("a", name="first", expect_version=version)
        for order in (
            kernel.change_job("a", name="second", expect_version=version),
            kernel.remove_job("a", expect_version=version),
            kernel.add_job(Job(id="a", func=quick), replace=True, expect_version=version),
        ):
            with pytest.raises(JobConflictError) as refused:
                await order
            assert (refused.value.expected, refused.value.version) == (1, 2)
        assert (await kernel.job("a")).job.name == "first"


async def test_two_changes_at_once_both_count(world: World) -> None:
    async with world.kernel() as kernel:
        await kernel.add_job(Job(id="a", func=quick, **HOURLY))
        await asyncio.gather(kernel.change_job("a", name="A"), kernel.change_job("a", tags=["x"]))
        found = (await kernel.job("a")).job

    assert (found.name, found.tags) == ("A", ["x"])


ORDERS: dict[str, Callable[[Kernel], Any]] = {
    "change": lambda kernel: kernel.change_job("code", name="x"),
    "remove": lambda kernel: kernel.remove_job("code"),
    "replace": lambda kernel: kernel.add_job(Job(id="code", func=quick), replace=True),
}


@pytest.mark.parametrize("order", ORDERS)
async def test_orders_cannot_change_what_is_defined(world: World, order: str) -> None:
    async with world.kernel(Job(id="code", func=quick)) as kernel:
        with pytest.raises(ForeignJobError) as refused:
            await ORDERS[order](kernel)
        with pytest.raises(UnknownJobError):
            await kernel.change_job("nosuch", name="x")

    assert (refused.value.job_id, refused.value.source) == ("code", "the program")


async def test_many_jobs_are_added_in_one_commit_or_not_at_all(world: World) -> None:
    jobs = [Job(id=f"j{n}", func=quick, **HOURLY) for n in range(1_200)]
    async with world.kernel() as kernel:
        with pytest.raises(JobError) as refused:
            await kernel.add_jobs([*jobs, Job(id="x", func="no.such:function"), Job(id="y", func=lambda: None)])
        with pytest.raises(JobError, match="two of the jobs have the id 'j3'"):
            await kernel.add_jobs([*jobs, Job(id="j3", func=quick)])
        assert await kernel.jobs() == []

        appended: list[int] = []
        append = world.store.append

        async def counting(events: Any, executions: Any, states: Any) -> None:
            appended.append(len(events))
            await append(events, executions, states)

        world.store.append = counting  # type: ignore[method-assign,assignment]
        await kernel.add_jobs(jobs, owner="t7")
        found = len(await kernel.jobs())

    assert "no.such" in str(refused.value)
    assert "'y'" in str(refused.value)
    assert (found, appended[0]) == (1_200, 1_200)


async def test_a_job_that_is_replaced_keeps_its_owner(world: World) -> None:
    job = Job(id="a", func=quick, **HOURLY)
    async with world.kernel() as kernel:
        await kernel.add_jobs([job, Job(id="free", func=quick)], owner=None)
        await kernel.add_job(job, replace=True, owner="t7")
        await kernel.add_job(job, replace=True, name="A")
        await kernel.add_jobs([job, Job(id="new", func=quick)], replace=True, owner="t7")
        for add in (
            kernel.add_job(job, expect_version=4, owner="t8"),
            kernel.add_jobs([job], replace=True, owner="t8"),
        ):
            with pytest.raises(JobExistsError, match="belongs to 't7'; choose another id, or remove that job first"):
                await add
        owners = {view.job.id: view.state.owner for view in await kernel.jobs()}

    assert owners == {"a": "t7", "free": None, "new": "t7"}


async def test_a_set_of_one_owner_is_replaced_and_no_others_are_touched(world: World) -> None:
    def of(*ids: str, **keys: Any) -> list[Job]:
        return [Job(id=one, func=quick, **{**HOURLY, **keys}) for one in ids]

    async with world.kernel(Job(id="code", func=quick)) as kernel:
        await kernel.add_jobs(of("mine", "other"))
        await kernel.apply_jobs(of("a", "b"), owner="t7")
        await kernel.apply_jobs(of("z"), owner="t8")
        found = await kernel.apply_jobs([*of("b", name="B"), *of("c")], owner="t7", actor="ann")
        for taken in ("code", "mine", "z"):
            with pytest.raises(JobExistsError, match=f"'{taken}' cannot belong to 't7'"):
                await kernel.apply_jobs(of("b", "d", taken), owner="t7")
        jobs = {view.job.id: view.state.owner for view in await kernel.jobs()}
    async with world.kernel(Job(id="code", func=quick)) as kernel:
        assert {view.job.id: view.state.owner for view in await kernel.jobs()} == jobs
        emptied = await kernel.apply_jobs([], owner="t7")

    assert (found.added, found.changed, found.removed) == (["c"], {"b": {"name": "B"}}, ["a"])
    assert jobs == {"code": None, "mine": None, "other": None, "b": "t7", "c": "t7", "z": "t8"}
    assert emptied.removed == ["b", "c"]


async def test_an_order_that_is_refused_is_in_the_history(world: World) -> None:
    async with world.kernel(Job(id="code", func=quick), decorated) as kernel:
        for order in (
            kernel.add_job(Job(id="code", func=quick), actor="ann"),
            kernel.add_job(decorated, actor="ann"),
            kernel.change_job("code", name="x", actor="ann"),
            kernel.remove_job("code", actor="ann"),
        ):
            with pytest.raises(GnomonError):
                await order
        await check_store(world.store)
    refused = [(event.action, event.asked_job_id) for event in world.store.recorded if event.type == "act_refused"]  # type: ignore[attr-defined]

    assert refused == [("add", "code"), ("add", "declared"), ("change", "code"), ("remove", "code")]


# --- jobs that end


async def test_a_job_with_one_fire_removes_itself_when_its_outcome_is_decided(world: World) -> None:
    retry = Retry(attempts=3, delay=Duration(minutes=5), backoff=1.0)
    async with world.kernel() as kernel:
        await kernel.add_job(Job(id="once", func=quick, at=START + HOUR))
        await kernel.add_job(Job(id="kept", func=quick, at=START + HOUR, keep=True))
        await kernel.add_job(Job(id="fails", func=breaks, at=START + HOUR, retry=retry))
        await kernel.add_job(Job(id="manual", func=quick))
        await world.clock.advance(HOUR)
        first = [view.job.id for view in await kernel.jobs()]
        await world.clock.advance(6 * MINUTE)
        second = [view.job.id for view in await kernel.jobs()]
        await world.clock.advance(5 * MINUTE)
        third = [view.job.id for view in await kernel.jobs()]
        await world.prove()
        assert set(kernel._leader._journal.jobs) == {"kept", "manual"}  # the others have left the memory

    assert (first, second, third) == (["fails", "kept", "manual"], ["fails", "kept", "manual"], ["kept", "manual"])
    assert [event.by_kernel for event in world.store.recorded.of(JobRemoved)] == [True, True]


async def test_a_schedule_that_ends_removes_its_job_too(world: World) -> None:
    table = {"type": "interval", "hours": 1, "end_date": "2026-01-01T02:30:00+00:00"}
    async with world.kernel() as kernel:
        await kernel.add_job(Job(id="twice", func=quick, trigger=table))
        await world.clock.advance(90 * MINUTE)
        assert len(await kernel.jobs()) == 1
        await world.clock.advance(HOUR)
        assert await kernel.jobs() == []
        await world.prove()


async def test_a_job_whose_only_fire_was_decided_before_a_kill_is_removed_at_the_start(world: World) -> None:
    kernel = await world.kernel().__aenter__()
    await kernel.add_job(Job(id="once", func=quick, at=START + HOUR))
    kernel._leader._finished_jobs.note = lambda job_id: None  # type: ignore[method-assign]
    await world.clock.advance(HOUR)
    await world.kill(kernel)
    async with world.kernel() as kernel:
        await world.clock.settle()
        assert await kernel.jobs() == []
        await world.prove()

    assert len(world.store.recorded.of(Scheduled)) == 1


async def test_a_running_body_and_a_waiting_run_keep_the_job(world: World) -> None:
    async with world.kernel(max_running=1) as kernel:
        await kernel.add_job(Job(id="first", func=slow, at=START + MINUTE))
        await kernel.add_job(Job(id="second", func=quick, at=START + 2 * MINUTE))
        await world.clock.advance(HOUR)
        ids = [view.job.id for view in await kernel.jobs()]
        (run,) = (await kernel.job("first")).running
        await kernel.cancel(run)
        await world.clock.settle()
        left = await kernel.jobs()
        await world.prove()

    assert (ids, left) == (["first", "second"], [])


async def test_an_id_that_is_used_again_continues_and_repeats_no_fire(world: World) -> None:
    async with world.kernel() as kernel:
        for _ in range(2):
            await kernel.add_job(Job(id="once", func=quick, at=START + HOUR))
            await world.clock.advance(HOUR)
        await kernel.add_job(Job(id="once", func=quick, at=START + 5 * HOUR))
        await world.clock.advance(5 * HOUR)
        await world.prove()

    assert [event.scheduled_time for event in world.store.recorded.of(Scheduled)] == [START + HOUR, START + 5 * HOUR]
    versions = [event.version for event in world.store.recorded if event.stream == "job:once"]
    assert versions == [1, 2, 3, 4, 5, 6]


async def test_a_fire_that_is_missed_removes_its_job_too(world: World) -> None:
    async with world.kernel() as kernel:
        await kernel.add_job(Job(id="once", func=quick, at=START + HOUR, catch_up="none"))
    await world.clock.advance(timedelta(days=1))
    async with world.kernel() as kernel:
        await world.clock.settle()
        assert await kernel.jobs() == []
        await world.prove()

    assert [event.reason for event in world.store.recorded.of(Missed)] == ["downtime"]


async def test_a_paused_job_stays_until_it_is_resumed(world: World) -> None:
    async with world.kernel() as kernel:
        await kernel.add_job(Job(id="once", func=quick, at=START + HOUR))
        await kernel.pause("once")
        await world.clock.advance(datetime(2026, 1, 2, tzinfo=START.tzinfo) - START)
        assert len(await kernel.jobs()) == 1
        await kernel.resume("once")
        await world.clock.settle()
        assert await kernel.jobs() == []
        await world.prove()


async def test_a_kernel_that_keeps_no_time_knows_them_too(world: World) -> None:
    async with world.kernel() as kernel:
        await kernel.add_job(Job(id="a", func=quick, **HOURLY))
    async with world.kernel(keeps_time=False) as kernel:
        run = await kernel.wait((await kernel.trigger("a")).execution.id)

    assert run.status == "success"
