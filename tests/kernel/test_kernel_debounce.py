"""Jobs with `debounce`: repeated triggers join the run that waits for the first of them."""

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

import pytest

import ordering_bodies
from gnomon import (
    Cancelled,
    Context,
    Duration,
    IdempotencyKeyError,
    Job,
    JobError,
    Kernel,
    Missed,
    QueueFullError,
    RunOrder,
    Scheduled,
    Started,
    Succeeded,
    hookimpl,
)
from gnomon.analysis.explain import explain
from gnomon.jobs.definition import rebuild_job
from gnomon.testing import EventList, RecordingStore, VirtualClock
from gnomon.testing.clock import START
from gnomon.text import moment

Make = Callable[..., Kernel]
FIVE = Duration(seconds=5)
SECOND = timedelta(seconds=1)


async def told(n: int = 0, **more: Any) -> int:
    return n


def job(body: Callable[..., Any] = told, **policies: Any) -> Job:
    keys: dict[str, Any] = {"id": "job", "func": body, "debounce": FIVE, **policies}
    return Job(**keys)


def starts(events: EventList) -> list[float]:
    return [(event.at - START).total_seconds() for event in events.of(Started)]


async def test_triggers_within_the_window_are_one_run(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job()) as kernel:
        first = await kernel.trigger("job", kwargs={"n": 1}, actor="ann")
        await gnomon_clock.advance(3 * SECOND)
        second = await kernel.trigger("job", kwargs={"n": 1}, actor="bob")
        before = starts(gnomon_events)
        await gnomon_clock.advance(SECOND)
        third = await kernel.trigger("job", kwargs={"n": 1})
        await gnomon_clock.advance(10 * SECOND)
        ended = await kernel.wait(third.execution.id)

    assert [one.execution.id for one in (second, third)] == [first.execution.id] * 2
    assert [(one.is_new, one.joined) for one in (first, second, third)] == [(True, False), (False, True), (False, True)]
    assert first.execution.not_before == START + FIVE
    assert (before, starts(gnomon_events)) == ([], [5.0])
    assert (ended.status, ended.return_value, ended.delay) == ("success", 1, 0.0)
    assert len(gnomon_events.of(Scheduled)) == 1


async def test_no_number_of_triggers_postpones_the_run_and_each_is_followed_by_a_start(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job()) as kernel:
        for _ in range(16):
            await kernel.trigger("job")
            await gnomon_clock.advance(SECOND)
        await gnomon_clock.advance(10 * SECOND)

    assert starts(gnomon_events) == [5.0, 10.0, 15.0, 20.0]


@pytest.mark.parametrize(
    "other",
    [{"kwargs": {"n": 2}}, {"labels": {"tenant": "7"}}, {"force": True}],
    ids=["arguments", "labels", "force"],
)
async def test_a_trigger_that_differs_has_its_own_run(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, other: dict[str, Any]
) -> None:
    async with gnomon_kernel(job(kwargs={"n": 1}, overlap="allow")) as kernel:
        one = await kernel.trigger("job")
        two = await kernel.trigger("job", **other)
        again = await kernel.trigger("job", kwargs={"n": 1})
        await gnomon_clock.advance(10 * SECOND)

    assert one.execution.id == again.execution.id != two.execution.id
    assert two.is_new
    assert len(gnomon_events.of(Succeeded)) == 2


async def test_a_trigger_joins_a_run_that_still_waits_for_a_slot_after_its_window(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def slow() -> None:
        await gnomon_clock.sleep(60)

    async with gnomon_kernel(job(slow)) as kernel:
        await kernel.trigger("job")
        await gnomon_clock.advance(6 * SECOND)
        second = await kernel.trigger("job")
        await gnomon_clock.advance(20 * SECOND)
        third = await kernel.trigger("job")
        await gnomon_clock.advance(300 * SECOND)

    assert second.is_new
    assert (third.joined, third.execution.id) == (True, second.execution.id)
    assert starts(gnomon_events) == [5.0, 65.0]


async def test_fires_of_the_schedule_are_not_debounced(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job(every=Duration(seconds=2), overlap="allow")) as kernel:
        await kernel.trigger("job")
        await gnomon_clock.advance(6 * SECOND)

    assert starts(gnomon_events) == [2.0, 4.0, 5.0, 6.0]


async def test_a_cancelled_run_is_joined_by_none(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job()) as kernel:
        first = (await kernel.trigger("job")).execution
        await kernel.cancel(first.id, actor="ann")
        await gnomon_clock.advance(2 * SECOND)
        second = await kernel.trigger("job")
        await gnomon_clock.advance(10 * SECOND)

    assert second.is_new
    assert [event.stream for event in gnomon_events.of(Cancelled)] == [first.id]
    assert starts(gnomon_events) == [7.0]


async def test_a_restart_keeps_the_window_and_who_may_join_it(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job()) as kernel:
        first = (await kernel.trigger("job", kwargs={"n": 3})).execution
    await gnomon_clock.jump(2 * SECOND)
    async with gnomon_kernel(job()) as kernel:
        again = await kernel.trigger("job", kwargs={"n": 3})
        await gnomon_clock.advance(10 * SECOND)

    assert (again.joined, again.execution.id) == (True, first.id)
    assert starts(gnomon_events) == [5.0]


async def test_a_job_that_loses_its_debounce_runs_at_once(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel() as kernel:
        await kernel.add_job(ordering_bodies.target, id="target", debounce="5s")
        await kernel.trigger("target")
        await kernel.change_job("target", debounce=None)
        second = await kernel.trigger("target")
        await gnomon_clock.advance(10 * SECOND)

    assert second.is_new
    assert starts(gnomon_events) == [0.0, 5.0]


# --- keys, lists, and what else a trigger may ask for


async def test_a_repeated_key_finds_the_run_that_its_request_joined(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(job()) as kernel:
        first = await kernel.trigger("job", idempotency_key="a", actor="ann")
        joined = await kernel.trigger("job", idempotency_key="b", actor="ann")
        await gnomon_clock.advance(10 * SECOND)
        again = [await kernel.trigger("job", idempotency_key=key, actor="ann") for key in ("a", "b")]
        with pytest.raises(IdempotencyKeyError, match="was used for another request"):
            await kernel.trigger("job", kwargs={"n": 9}, idempotency_key="b", actor="ann")

    assert joined.joined
    assert {one.execution.id for one in (first, joined, *again)} == {first.execution.id}
    assert [(one.is_new, one.execution.status) for one in again] == [(False, "success")] * 2
    assert len(gnomon_events.of(Scheduled)) == 1


async def test_orders_of_a_list_join_the_first_of_them(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    orders = [RunOrder("job", {"n": n % 2}) for n in range(6)]
    async with gnomon_kernel(job(queue_limit=1, overlap="allow")) as kernel:
        answers = await kernel.trigger_many(orders)
        await gnomon_clock.advance(10 * SECOND)
        ended = await kernel.wait_many([one.execution.id for one in answers])

    assert [one.joined for one in answers] == [False, False, True, True, True, True]
    assert [one.return_value for one in ended] == [0, 1, 0, 1, 0, 1]
    assert len(gnomon_events.of(Scheduled)) == 2


async def test_a_full_queue_refuses_a_window_and_lets_others_join(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def slow(n: int = 0) -> None:
        await gnomon_clock.sleep(600)

    async with gnomon_kernel(job(slow, queue_limit=1)) as kernel:
        for n in (1, 2):
            await kernel.trigger("job", kwargs={"n": n})
        await gnomon_clock.advance(10 * SECOND)  # one runs, one waits
        joined = await kernel.trigger("job", kwargs={"n": 2})
        with pytest.raises(QueueFullError):
            await kernel.trigger_many([RunOrder("job", {"n": 3}), RunOrder("job", {"n": 3})])
        missed = await kernel.trigger_many([RunOrder("job", {"n": 3}), RunOrder("job", {"n": 3})], when_full="miss")

    assert joined.joined
    assert {one.execution.status for one in missed} == {"missed"}
    assert len({one.execution.id for one in missed}) == 1
    assert len(gnomon_events.of(Scheduled)) == 2


async def test_a_guard_refuses_a_trigger_before_it_could_join(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    class Closed:
        reason: str | None = None

        @hookimpl
        def guard(self, job: Job) -> str | None:
            return self.reason

    guard = Closed()
    async with gnomon_kernel(job(), plugins=[guard]) as kernel:
        await kernel.trigger("job")
        guard.reason = "closed"
        refused = await kernel.trigger("job")
        await gnomon_clock.advance(10 * SECOND)

    assert (refused.execution.status, refused.joined) == ("missed", False)
    assert len(gnomon_events.of(Missed)) == 1
    assert starts(gnomon_events) == [5.0]


async def test_triggers_of_bodies_join_too(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    answers = []

    async def asks(ctx: Context) -> None:
        answers.extend([(await ctx.trigger("job", n=4)).joined for _ in range(3)])

    async with gnomon_kernel(job(), Job(id="asks", func=asks)) as kernel:
        await kernel.trigger("asks")
        await gnomon_clock.advance(10 * SECOND)

    assert answers == [False, True, True]
    assert [event.stream for event in gnomon_events.of(Scheduled, "job")] == [
        event.stream for event in gnomon_events.of(Succeeded, "job")
    ]


async def test_a_paused_job_is_resumed_by_a_trigger_that_joins(gnomon_kernel: Make, gnomon_clock: VirtualClock) -> None:
    async with gnomon_kernel(job(every=Duration(hours=1))) as kernel:
        await kernel.trigger("job")
        await kernel.pause("job")
        joined = await kernel.trigger("job")
        view = await kernel.job("job")

    assert (joined.joined, joined.resumed, view.state.paused) == (True, True, False)


async def test_windows_that_have_ended_are_not_kept(gnomon_kernel: Make, gnomon_clock: VirtualClock) -> None:
    async with gnomon_kernel(job(overlap="allow")) as kernel:
        for start in range(0, 4_000, 500):
            await kernel.trigger_many([RunOrder("job", {"n": start + n}) for n in range(500)])
            await gnomon_clock.advance(6 * SECOND)
        kept = len(kernel._leader._launcher.debounces)

    assert kept <= 1_024


async def test_explain_names_the_debounce(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def asks(ctx: Context) -> None:
        await ctx.trigger("job")

    store = RecordingStore(EventList())
    async with gnomon_kernel(job(), Job(id="asks", func=asks), store=store) as kernel:
        await kernel.trigger("asks")
        await gnomon_clock.settle()
        found = await explain(store, "job", None, now=gnomon_clock.now())

    (waits,) = (sentence for sentence in found.sentences if "It waits" in sentence)
    assert waits.endswith(f"It waits; it may start from {moment(START + FIVE, UTC, seconds=True)} on.")


# --- the key


@pytest.mark.parametrize("bad", [Duration(), Duration(days=11_000)])
def test_a_window_must_have_a_length(bad: Duration) -> None:
    with pytest.raises(JobError, match="debounce must be more than 0"):
        job(debounce=bad)


def test_the_key_is_in_the_definition_and_comes_back() -> None:
    definition = job(func="gnomon_chores:shell").definition()

    assert definition["debounce"] == "5s"
    assert rebuild_job(definition).job is not None
