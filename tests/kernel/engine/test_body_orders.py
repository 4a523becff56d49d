"""What a body asks of its kernel: triggers and new jobs, from async, thread and process bodies."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import ordering_bodies
from gnomon import Context, ExecutionQuery, GnomonError, Job, Kernel, Missed, Retry, Scheduled, hookimpl
from gnomon.clock import SystemClock
from gnomon.testing import EventList, VirtualClock
from gnomon_sqlite import SqliteStore

MakeKernel = Callable[..., Kernel]


ASKING = {
    "async": Job(id="asks", func=ordering_bodies.asks_async),
    "thread": Job(id="asks", func=ordering_bodies.asks_in_thread),
    "process": Job(id="asks", func=ordering_bodies.asks_in_process, runner="process"),
    "async in a process": Job(id="asks", func=ordering_bodies.asks_async_in_process, runner="process"),
}


async def run(kernel: Kernel, job_id: str, **kwargs: Any) -> Any:
    triggered = await kernel.trigger(job_id, kwargs=kwargs)
    execution = await kernel.wait(triggered.execution.id)
    assert execution.status == "success", execution.traceback
    return execution


@pytest.mark.parametrize("asking", ASKING.values(), ids=ASKING)
async def test_a_body_triggers_a_run_that_is_linked_to_its_own(gnomon_kernel: MakeKernel, asking: Job) -> None:
    async with gnomon_kernel(asking, ordering_bodies.target, clock=SystemClock()) as kernel:
        parent = await run(kernel, "asks", number=21)
        child = await kernel.wait(parent.return_value)
        (scheduled, *_) = await kernel.history(child.id)

    assert (child.job_id, child.return_value, child.triggered_by) == ("target", 21, parent.id)
    assert isinstance(scheduled, Scheduled)
    assert (scheduled.triggered_by, scheduled.trigger_depth, scheduled.actor) == (parent.id, 1, None)
    assert parent.triggered_by is None


@pytest.mark.parametrize("asking", ASKING.values(), ids=ASKING)
async def test_an_error_of_the_kernel_is_raised_in_the_body(gnomon_kernel: MakeKernel, asking: Job) -> None:
    async with gnomon_kernel(asking, clock=SystemClock()) as kernel:
        triggered = await kernel.trigger("asks")
        execution = await kernel.wait(triggered.execution.id)

    assert execution.error_type == "gnomon.errors.UnknownJobError"
    assert execution.error_message == "there is no job 'target'"


async def test_a_run_is_in_the_store_when_the_trigger_returns(tmp_path: Path) -> None:
    found = []

    async def asks(ctx: Context) -> None:
        triggered = await ctx.trigger("target")
        found.append(await store.stream(triggered.execution.id))

    store = SqliteStore(tmp_path / "log.db")
    async with Kernel(store=store, jobs=[Job(id="asks", func=asks), ordering_bodies.target]) as kernel:
        await run(kernel, "asks")

    assert found[0][0].type == "scheduled"


async def test_an_answer_that_is_not_awaited_says_so_and_the_run_starts_nevertheless(
    gnomon_kernel: MakeKernel, gnomon_clock: VirtualClock
) -> None:
    async def asks(ctx: Context) -> str:
        with pytest.raises(GnomonError, match="the kernel has not answered yet"):
            _ = ctx.trigger("target", number=5).execution
        return repr(ctx.trigger("nosuch"))

    async with gnomon_kernel(Job(id="asks", func=asks), ordering_bodies.target) as kernel:
        assert (await run(kernel, "asks")).return_value == "Answer(pending)"
        await gnomon_clock.settle()
        (child,) = (await kernel.executions(ExecutionQuery(job_id="target"))).items
        assert (await kernel.wait(child.id)).return_value == 5


async def test_arguments_with_the_names_of_parameters_are_passed_as_kwargs(gnomon_kernel: MakeKernel) -> None:
    def takes(kwargs: int, idempotency_key: int, job: int) -> int:
        return kwargs + idempotency_key + job

    def asks(ctx: Context) -> str:
        given = {"kwargs": 1, "idempotency_key": 2}
        return str(ctx.trigger("takes", kwargs=given, job=3).execution.id)

    async with gnomon_kernel(Job(id="asks", func=asks), Job(id="takes", func=takes), clock=SystemClock()) as kernel:
        parent = await run(kernel, "asks")
        assert (await kernel.wait(parent.return_value)).return_value == 6


async def test_a_repeated_key_makes_one_run_for_all_attempts(
    gnomon_kernel: MakeKernel, gnomon_events: EventList, gnomon_clock: VirtualClock
) -> None:
    attempts = []

    def asks(ctx: Context) -> None:
        attempts.append(ctx.trigger("target", idempotency_key="load-7").is_new)
        if ctx.attempt == 1:
            raise ValueError

    async with gnomon_kernel(Job(id="asks", func=asks, retry=Retry(attempts=2)), ordering_bodies.target) as kernel:
        await kernel.trigger("asks")
        await gnomon_clock.until(lambda: len(attempts) == 2, step=1.0)

    assert attempts == [True, False]
    assert len(gnomon_events.of(Scheduled, "target")) == 1


async def test_a_paused_job_runs_once_and_stays_paused(gnomon_kernel: MakeKernel) -> None:
    async with gnomon_kernel(ASKING["async"], ordering_bodies.target, clock=SystemClock()) as kernel:
        await kernel.pause("target")
        parent = await run(kernel, "asks")
        assert (await kernel.wait(parent.return_value)).status == "success"
        assert (await kernel.job("target")).state.paused


async def test_a_loop_of_triggers_ends_with_an_error_that_names_it(
    gnomon_kernel: MakeKernel, gnomon_events: EventList, gnomon_clock: VirtualClock
) -> None:
    async def ping(ctx: Context) -> None:
        await ctx.trigger("pong")

    async def pong(ctx: Context) -> None:
        await ctx.trigger("ping")

    async with gnomon_kernel(Job(id="ping", func=ping), Job(id="pong", func=pong)) as kernel:
        await kernel.trigger("ping")
        await gnomon_clock.settle()
        failed = (await kernel.executions(ExecutionQuery(status=("failed",)))).items

    assert [run.error_type for run in failed] == ["gnomon.errors.TriggerDepthError"]
    message = failed[0].error_message or ""
    assert re.match(r"run [0-9a-f]{24} cannot trigger job 'pong': it is at the end of a chain of 32 triggers", message)
    assert "(… → pong → ping → pong → ping → pong → ping → pong)" in message
    assert max(event.trigger_depth for event in gnomon_events.of(Scheduled)) == 32
    assert len(gnomon_events.of(Scheduled)) == 33


async def test_a_retry_keeps_the_link_and_its_place_in_the_chain(
    gnomon_kernel: MakeKernel, gnomon_events: EventList, gnomon_clock: VirtualClock
) -> None:
    async def fails() -> None:
        raise ValueError

    failing = Job(id="target", func=fails, retry=Retry(attempts=2))
    async with gnomon_kernel(Job(id="asks", func=asks_fails), failing) as kernel:
        parent = await kernel.trigger("asks")
        await gnomon_clock.advance(timedelta(hours=1))

    links = [
        (event.attempt, event.triggered_by, event.trigger_depth) for event in gnomon_events.of(Scheduled, "target")
    ]
    assert links == [(1, parent.execution.id, 1), (2, parent.execution.id, 1)]


async def asks_fails(ctx: Context) -> None:
    await ctx.trigger("target")


async def test_a_run_that_a_guard_refuses_is_linked_too(gnomon_kernel: MakeKernel, gnomon_events: EventList) -> None:
    class Guard:
        @hookimpl
        def guard(self, job: Job) -> str | None:
            return "closed" if job.id == "target" else None

    async with gnomon_kernel(ASKING["async"], ordering_bodies.target, plugins=[Guard()], clock=SystemClock()) as kernel:
        parent = await run(kernel, "asks")

    (missed,) = gnomon_events.of(Missed, "target")
    assert (missed.reason, missed.triggered_by) == ("guard", parent.id)


# --- new jobs ---


ADDING = {
    "async": Job(id="adds", func=ordering_bodies.adds_async),
    "thread": Job(id="adds", func=ordering_bodies.adds_in_thread),
    "process": Job(id="adds", func=ordering_bodies.adds_in_process, runner="process"),
}


@pytest.mark.parametrize("adding", ADDING.values(), ids=ADDING)
async def test_a_body_adds_a_job_that_a_restart_keeps(gnomon_kernel: MakeKernel, adding: Job) -> None:
    async with gnomon_kernel(adding, ordering_bodies.target, clock=SystemClock()) as kernel:
        parent = await run(kernel, "adds")
        assert parent.return_value == "added"
        assert (await run(kernel, "added")).return_value == 3
        (added,) = [event for event in await kernel.events() if event.type == "job_added" and event.job_id == "added"]

    assert getattr(added, "reason", None) == f"added by run {parent.id}"


OWNING = {
    "async": Job(id="adds", func=ordering_bodies.adds_for_a_tenant_async),
    "thread": Job(id="adds", func=ordering_bodies.adds_for_a_tenant),
    "process": Job(id="adds", func=ordering_bodies.adds_for_a_tenant, runner="process"),
}


@pytest.mark.parametrize("adding", OWNING.values(), ids=OWNING)
async def test_a_body_names_the_owner_of_a_job_and_signs_as_nobody(gnomon_kernel: MakeKernel, adding: Job) -> None:
    async with gnomon_kernel(adding, ordering_bodies.target, clock=SystemClock()) as kernel:
        refusals = (await run(kernel, "adds")).return_value
        state = (await kernel.job("owned")).state

    assert (state.owner, state.version, state.definition["every"]) == ("tenant-7", 2, "2h")
    assert refusals.splitlines() == [
        "ctx.add_job() takes no actor: the kernel records the run that adds the job; leave it out",
        "ctx.add_job() takes no actor and no reason: the kernel records the run that adds the job; leave them out",
    ]


async def test_a_process_body_adds_a_plain_function_without_an_id(gnomon_kernel: MakeKernel) -> None:
    adding = Job(id="adds", func=ordering_bodies.adds_a_plain_function_in_process, runner="process")
    async with gnomon_kernel(adding, clock=SystemClock()) as kernel:
        added = (await run(kernel, "adds")).return_value
        assert added == "ordering_bodies.plain"
        assert (await run(kernel, added)).return_value == "plain"


async def test_a_job_that_exists_is_refused_in_a_process_as_anywhere(gnomon_kernel: MakeKernel) -> None:
    async with gnomon_kernel(ADDING["process"], ordering_bodies.target, clock=SystemClock()) as kernel:
        await run(kernel, "adds")
        again = await kernel.wait((await kernel.trigger("adds")).execution.id)

    assert again.error_type == "gnomon.errors.JobExistsError"


async def test_arguments_that_are_not_json_are_refused_in_the_process(gnomon_kernel: MakeKernel) -> None:
    asking = Job(id="asks", func=ordering_bodies.sends_what_is_not_json, runner="process")
    async with gnomon_kernel(asking, ordering_bodies.target, clock=SystemClock()) as kernel:
        execution = await kernel.wait((await kernel.trigger("asks")).execution.id)

    assert execution.error_type == "gnomon.errors.JobError"
    assert "must be JSON, because the log keeps them" in (execution.error_message or "")


async def test_a_process_body_is_told_of_the_same_arguments_as_a_thread_body(gnomon_kernel: MakeKernel) -> None:
    asking = [
        Job(id=runner, func=ordering_bodies.asks_with_strange_values, runner=runner) for runner in ("thread", "process")
    ]
    targets = (ordering_bodies.anything, ordering_bodies.typed)
    jobs = [Job(id=func.__name__, func=func, overlap="allow") for func in targets]
    async with gnomon_kernel(*asking, *jobs, clock=SystemClock()) as kernel:
        in_thread, in_process = [(await run(kernel, one.id)).return_value for one in asking]
        runs = (await kernel.executions(ExecutionQuery(job_id="typed"))).items
        values = [(await kernel.wait(one.id)).return_value for one in runs]

    assert "would be read back from the log as None" in in_thread[0]
    assert in_process == in_thread
    assert in_process.count("accepted") == 9
    assert (len(values), len(set(values))) == (6, 3)


async def test_a_process_that_the_body_forked_is_told_that_it_gets_no_answer(gnomon_kernel: MakeKernel) -> None:
    asking = Job(id="asks", func=ordering_bodies.asks_in_a_fork, runner="process")
    async with gnomon_kernel(asking, ordering_bodies.target, clock=SystemClock()) as kernel:
        said = (await run(kernel, "asks")).return_value

    assert said.startswith("an order was given in a process that the body has forked")


async def test_threads_of_a_process_body_each_get_their_own_answer(gnomon_kernel: MakeKernel) -> None:
    asking = Job(id="asks", func=ordering_bodies.asks_from_threads, runner="process")
    async with gnomon_kernel(
        asking, Job(id="target", func=ordering_bodies.target, overlap="allow"), clock=SystemClock()
    ) as kernel:
        children = [await kernel.wait(child) for child in (await run(kernel, "asks")).return_value]

    assert [child.return_value for child in children] == list(range(40))
