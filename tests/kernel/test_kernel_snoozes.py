"""Runs that their bodies put off with `ctx.snooze`: how they end, what follows, and what waits for them."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

import snoozing_bodies
from gnomon import (
    Cancelled,
    Context,
    Duration,
    Failed,
    GnomonError,
    Job,
    Kernel,
    Missed,
    Retry,
    RunSnoozed,
    Scheduled,
    Started,
    Succeeded,
    current,
)
from gnomon.analysis.audit import audit
from gnomon.analysis.explain import explain
from gnomon.clock import SystemClock
from gnomon.domain.execution import execution_id
from gnomon.domain.secret_references import SecretReference
from gnomon.testing import EventList, RecordingStore, VirtualClock, run_job
from gnomon.testing.clock import START

Make = Callable[..., Kernel]
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def job(body: Callable[..., Any], **policies: Any) -> Job:
    keys: dict[str, Any] = {"id": "job", "func": body, **policies}
    return Job(**keys)


def snoozes(times: int, delay: str | float | timedelta = "10m") -> Callable[..., Any]:
    """Return a body that snoozes that many times, and then returns how often it has."""

    async def body(ctx: Context) -> int:
        if ctx.snoozes < times:
            ctx.snooze(delay, "not ready")
        return ctx.snoozes

    return body


# --- the end of a run, and what follows


@pytest.mark.parametrize("delay", ["10m", 600, timedelta(minutes=10), "9m 60s"])
async def test_a_snoozed_fire_runs_again_after_the_delay_with_what_it_had(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, delay: str | float | timedelta
) -> None:
    labels = {"tenant": "7"}
    async with gnomon_kernel(job(snoozes(2, delay), at=START + HOUR, labels=labels)):
        await gnomon_clock.advance(2 * HOUR)

    accepted = gnomon_events.of(Scheduled)
    ids = [execution_id("job", START + HOUR, number) for number in (1, 2, 3)]
    assert [event.stream for event in accepted] == ids
    assert [(event.attempt, event.snoozes, event.retry_of) for event in accepted] == [
        (1, 0, None),
        (2, 1, ids[0]),
        (3, 2, ids[1]),
    ]
    assert [event.not_before for event in accepted] == [None, START + HOUR + 10 * MINUTE, START + HOUR + 20 * MINUTE]
    assert {event.scheduled_time for event in accepted} == {START + HOUR}
    assert [event.labels for event in accepted] == [labels] * 3
    assert [event.is_fire for event in accepted] == [True, False, False]
    assert [event.at - START for event in gnomon_events.of(Started)] == [
        HOUR,
        HOUR + 10 * MINUTE,
        HOUR + 20 * MINUTE,
    ]
    ends = gnomon_events.of(Cancelled)
    assert [(end.snoozed_until, end.snoozed_to) for end in ends] == [
        (START + HOUR + 10 * MINUTE, ids[1]),
        (START + HOUR + 20 * MINUTE, ids[2]),
    ]
    assert {(end.reason, end.actor, end.by_kernel) for end in ends} == {("snoozed for 10m: not ready", None, False)}
    assert [event.return_value for event in gnomon_events.of(Succeeded)] == [2]
    assert not gnomon_events.of(Failed)


async def test_a_waiter_gets_the_run_that_ends_it_all(gnomon_kernel: Make, gnomon_clock: VirtualClock) -> None:
    async with gnomon_kernel(job(snoozes(2))) as kernel:
        triggered = (await kernel.trigger("job", actor="ann")).execution
        waiting = asyncio.create_task(kernel.wait(triggered.id))
        await gnomon_clock.advance(HOUR)
        ended = await waiting
        first = await kernel.execution(triggered.id)
        (again,) = await kernel.wait_many([triggered.id])

    assert (ended.status, ended.return_value, ended.snoozes, ended.actor) == ("success", 2, 2, "ann")
    assert again == ended
    assert (first.status, first.is_snoozed, first.snoozed_until) == ("cancelled", True, START + 10 * MINUTE)
    assert first.snoozed_to is not None


async def test_a_snooze_uses_up_no_attempt(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    seen = []

    async def body(ctx: Context) -> None:
        seen.append((ctx.attempt, ctx.snoozes))
        if ctx.snoozes < 3:
            ctx.snooze("1m")
        if ctx.snoozes == 4:
            return
        if ctx.attempt == 2:
            ctx.snooze("1m")
        raise ValueError

    async with gnomon_kernel(job(body, at=START + HOUR, retry=Retry(attempts=2, delay=Duration(seconds=10)))):
        await gnomon_clock.advance(2 * HOUR)

    assert seen == [(1, 0), (1, 1), (1, 2), (1, 3), (2, 3), (2, 4)]
    assert len(gnomon_events.of(Failed)) == 1
    assert len(gnomon_events.of(Succeeded)) == 1
    waits = [event.not_before for event in gnomon_events.of(Scheduled)]
    assert waits[4] == START + HOUR + 3 * MINUTE + timedelta(seconds=10)  # the delay of the first retry


async def test_a_run_without_retries_fails_for_good_after_a_snooze(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body(ctx: Context) -> None:
        if not ctx.snoozes:
            ctx.snooze("1m")
        raise ValueError

    async with gnomon_kernel(job(body)) as kernel:
        await kernel.trigger("job")
        await gnomon_clock.advance(HOUR)

    assert gnomon_events.types[-3:] == ["scheduled", "started", "failed"]
    assert len(gnomon_events.of(Failed)) == 1


# --- bodies of every kind


def snoozes_in_a_thread(ctx: Context) -> None:
    try:
        ctx.snooze(3600, "in a thread")
    except Exception as exc:
        raise AssertionError from exc


async def snoozes_in_a_task_group() -> None:
    async def child() -> None:
        current().snooze("1h", "in a group")

    async with asyncio.TaskGroup() as group:
        group.create_task(child())


async def snoozes_in_a_worker_thread() -> None:
    await asyncio.to_thread(lambda: current().snooze("1h", "in a worker"))


@pytest.mark.parametrize(
    ("body", "policies", "reason"),
    [
        (snoozes_in_a_thread, {}, "in a thread"),
        (snoozes_in_a_task_group, {}, "in a group"),
        (snoozes_in_a_worker_thread, {}, "in a worker"),
        (snoozing_bodies.snoozes_in_a_process, {"runner": "process"}, "in a process"),
        (snoozing_bodies.snoozes_async_in_a_process, {"runner": "process"}, "async in a process"),
    ],
)
async def test_bodies_of_every_kind_snooze(
    gnomon_kernel: Make, gnomon_events: EventList, body: Callable[..., Any], policies: dict[str, Any], reason: str
) -> None:
    async with gnomon_kernel(job(body, **policies), clock=SystemClock()) as kernel:
        run = (await kernel.trigger("job")).execution
        found = await kernel.end_of(run.id)
        assert found.snoozed_to is not None
        following = await kernel.execution(found.snoozed_to)
        assert (following.retry_of, following.snoozes) == (run.id, 1)

    assert found.is_snoozed
    assert found.reason == f"snoozed for 1h: {reason}"
    assert (found.error_type, found.traceback) == (None, None)
    assert not gnomon_events.of(Failed)


@pytest.mark.parametrize(
    ("delay", "words"),
    [
        (0, "more than 0"),
        ("0s", "more than 0"),
        (-5, "from 0"),
        (timedelta(minutes=-1), "from 0"),
        ("11000d", "at most 3650 days"),
        ("ten minutes", 'such as "10m"'),
        (None, 'such as "10m"'),
        (True, 'such as "10m"'),
        (float("nan"), "from 0"),
        (datetime(2026, 12, 1, tzinfo=UTC), "pass the difference"),
    ],
)
async def test_a_bad_delay_is_refused_in_the_body(delay: Any, words: str) -> None:
    async def body(ctx: Context) -> None:
        ctx.snooze(delay)

    ended = await run_job(job(body))

    assert (ended.status, ended.error_type) == ("failed", "ValueError")
    assert words in (ended.error_message or "")


@pytest.mark.parametrize("delay", [None, timedelta(), "soon"])
async def test_an_exception_that_a_body_makes_with_a_bad_delay_fails_its_run(delay: Any) -> None:
    async def body() -> None:
        raise RunSnoozed(delay)

    ended = await run_job(job(body))

    assert (ended.status, ended.error_type) == ("failed", "gnomon.RunSnoozed")


async def test_a_snooze_beside_another_error_in_a_task_group_fails_the_run() -> None:
    async def snoozing() -> None:
        current().snooze("10m")

    async def failing() -> None:
        raise LookupError

    async def body() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(failing())
            group.create_task(snoozing())

    ended = await run_job(job(body))

    assert (ended.status, ended.error_type) == ("failed", "BaseExceptionGroup")


async def test_a_cancellation_wins_over_a_snooze(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body(ctx: Context) -> None:
        try:
            await gnomon_clock.sleep(60)
        except asyncio.CancelledError:
            raise RunSnoozed(timedelta(minutes=10)) from None

    async with gnomon_kernel(job(body)) as kernel:
        run = (await kernel.trigger("job")).execution
        await gnomon_clock.settle()
        await kernel.cancel(run.id, actor="ann")
        ended = await kernel.wait(run.id)

    assert (ended.status, ended.cancelled_by, ended.is_snoozed) == ("cancelled", "ann", False)
    assert len(gnomon_events.of(Scheduled)) == 1


# --- runs that wait after a snooze


async def test_a_snoozed_run_can_be_cancelled_while_it_waits(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(snoozes(5))) as kernel:
        run = (await kernel.trigger("job")).execution
        await gnomon_clock.settle()
        following = (await kernel.execution(run.id)).snoozed_to
        assert following is not None
        await kernel.cancel(following, actor="ann", reason="enough")
        ended = await kernel.wait(run.id)
        await gnomon_clock.advance(HOUR)

    assert (ended.id, ended.status, ended.cancelled_by, ended.is_snoozed) == (following, "cancelled", "ann", False)
    assert len(gnomon_events.of(Started)) == 1


async def test_a_snoozed_run_survives_a_restart_and_keeps_its_time(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    body = snoozes(1)
    fire = job(body, at=START + HOUR, grace=Duration(seconds=1))
    async with gnomon_kernel(fire):
        await gnomon_clock.advance(HOUR + MINUTE)
    async with gnomon_kernel(fire):
        await gnomon_clock.advance(HOUR)

    assert [event.at - START for event in gnomon_events.of(Started)] == [HOUR, HOUR + 10 * MINUTE]
    assert not gnomon_events.of(Missed)
    assert len(gnomon_events.of(Succeeded)) == 1


async def test_a_clock_that_is_set_back_makes_no_snooze_longer(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(snoozes(1))) as kernel:
        await kernel.trigger("job")
        await gnomon_clock.settle()
    await gnomon_clock.jump(-5 * HOUR)
    async with gnomon_kernel(job(snoozes(1))):
        await gnomon_clock.advance(11 * MINUTE)

    assert len(gnomon_events.of(Succeeded)) == 1


async def test_the_job_of_a_snoozed_run_is_removed(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(snoozes(1))) as kernel:
        run = (await kernel.trigger("job")).execution
        await gnomon_clock.settle()
        await kernel.apply_jobs([])
        ended = await kernel.wait(run.id)

    assert (ended.status, ended.is_snoozed) == ("cancelled", False)


async def test_a_job_that_is_removed_while_its_body_runs_has_no_run_after_the_snooze(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body(ctx: Context) -> None:
        await gnomon_clock.sleep(60)
        ctx.snooze("10m")

    async with gnomon_kernel(job(body)) as kernel:
        run = (await kernel.trigger("job")).execution
        await gnomon_clock.settle()
        await kernel.apply_jobs([])
        await gnomon_clock.advance(HOUR)
        ended = await kernel.wait(run.id)

    assert (ended.status, ended.reason, ended.retry_of) == ("cancelled", "the job was removed", run.id)
    assert len(gnomon_events.of(Started)) == 1


async def test_a_one_shot_job_stays_until_its_snoozed_run_has_ended(
    gnomon_kernel: Make, gnomon_clock: VirtualClock
) -> None:
    async with gnomon_kernel() as kernel:
        await kernel.add_job(snoozing_bodies.snoozes_once, id="once", at=START + HOUR)
        await gnomon_clock.advance(HOUR + MINUTE)
        waiting = [view.job.id for view in await kernel.jobs()]
        await gnomon_clock.advance(HOUR)
        left = [view.job.id for view in await kernel.jobs()]

    assert (waiting, left) == (["once"], [])


async def test_a_dependent_job_waits_for_the_run_that_ends_it_all(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def report() -> None: ...

    load = job(snoozes(2), id="load", at=START + HOUR)
    async with gnomon_kernel(load, job(report, id="report", after=["load"])):
        await gnomon_clock.advance(3 * HOUR)

    assert [event.at - START for event in gnomon_events.of(Started, "report")] == [HOUR + 20 * MINUTE]
    assert not gnomon_events.of(Missed)


# --- what is shown


async def test_explain_and_audit_show_a_snooze_as_it_is(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    store = RecordingStore(EventList())
    async with gnomon_kernel(job(snoozes(1), at=START + HOUR), store=store):
        await gnomon_clock.advance(HOUR + MINUTE)
        waiting = await explain(store, "job", START + HOUR, now=gnomon_clock.now())
        await gnomon_clock.advance(HOUR)
        over = await explain(store, "job", START + HOUR, now=gnomon_clock.now())
        proof = await audit(store, START, gnomon_clock.now())

    following = execution_id("job", START + HOUR, 2)
    text = " ".join(sentence for fire in waiting.fires for sentence in fire.sentences)
    assert "It snoozed after" in text
    assert f"not ready. Run {following} takes its place." in text
    assert "because the run before it was snoozed" in text
    assert "retr" not in text
    text = " ".join(sentence for fire in over.fires for sentence in fire.sentences)
    assert "It succeeded" in text
    assert [fire.fate for fire in over.fires] == ["success"]
    assert proof.is_proved


async def test_a_run_that_snoozes_again_and_again_is_logged(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    with capture_logs() as lines:
        async with gnomon_kernel(job(snoozes(101, "1s"))) as kernel:
            await kernel.trigger("job")
            await gnomon_clock.advance(HOUR)

    assert gnomon_events.of(Scheduled)[-1].snoozes == 101
    (warning,) = [line for line in lines if line["log_level"] == "warning"]
    assert (warning["job"], warning["snoozes"]) == ("job", 100)


async def test_a_secret_in_the_reason_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cr3t-t0k3n")

    async def body(ctx: Context, token: str) -> None:
        ctx.snooze("10ms", f"busy with {token}")

    ended = await run_job(job(body, kwargs={"token": SecretReference(env="TOKEN")}))

    assert ended.reason == "snoozed for 10ms: busy with ***"


async def test_a_body_that_snoozes_is_tested_like_any_other() -> None:
    ended = await run_job(job(snoozes(1, "2h")))

    assert (ended.is_snoozed, ended.reason) == (True, "snoozed for 2h: not ready")


def test_the_exception_is_neither_an_exception_nor_an_error() -> None:
    assert not issubclass(RunSnoozed, Exception)
    assert not issubclass(RunSnoozed, GnomonError)
