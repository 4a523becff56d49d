"""What bodies tell of themselves: how much of it is written, and that it never lies."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon import Context, Execution, Job, Kernel, Progress, current
from gnomon.domain import codec
from gnomon.domain.events import DeclaredStep, Scheduled
from gnomon.domain.execution import begin
from gnomon.runners.orders import Answer, BodyOrder
from gnomon.testing import EventList, VirtualClock
from gnomon.testing.clock import START

Make = Callable[..., Kernel]


def job(body: Callable[..., Any], **policies: Any) -> Job:
    return Job(id="job", func=body, **policies)


async def run(kernel: Kernel, clock: VirtualClock, seconds: float = 3600) -> Execution:
    identity = (await kernel.trigger("job")).execution.id
    await clock.advance(seconds)
    return await kernel.wait(identity)


def told(log: EventList, field: str) -> list[Any]:
    return [getattr(event, field) for event in log.of(Progress) if getattr(event, field) is not None]


async def test_at_most_a_few_events_a_second_are_written_and_the_last_value_always(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> None:
        for percent in range(1000):
            current().progress(percent / 10)
            await gnomon_clock.sleep(0.01)
        current().progress(99.95)

    async with gnomon_kernel(job(body)) as kernel:
        execution = await run(kernel, gnomon_clock)

    moments = [(event.at - START).total_seconds() for event in gnomon_events.of(Progress)]
    for moment in moments:
        assert len([one for one in moments if moment <= one < moment + 1]) <= 5
    assert 38 <= len(moments) <= 42
    assert told(gnomon_events, "percent")[-1] == 99.95
    assert execution.progress.percent == 100.0


async def test_a_body_that_tells_at_odd_moments_is_written_at_the_same_rate(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def other() -> None:
        for _ in range(1000):
            current().progress(message="busy")
            await gnomon_clock.sleep(0.07)

    async def body() -> None:
        for n in range(100):
            current().progress(message=f"first {n}")
            await gnomon_clock.sleep(0.001)
            current().progress(message=f"second {n}")
            await gnomon_clock.sleep(0.29)

    async with gnomon_kernel(job(body), Job(id="other", func=other)) as kernel:
        await kernel.trigger("other")
        await run(kernel, gnomon_clock)

    moments = [event.at for event in gnomon_events.of(Progress, "job")]
    assert all(len([m for m in moments if one <= m < one + timedelta(seconds=1)]) <= 5 for one in moments)
    assert told(gnomon_events, "message")[-1] == "busy"
    assert gnomon_events.of(Progress, "job")[-1].message == "second 99"


async def test_what_a_silent_body_told_last_is_written_while_it_goes_on(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> None:
        current().progress(10, "ten")
        current().progress(20, "twenty")
        await gnomon_clock.sleep(60)

    async with gnomon_kernel(job(body)) as kernel:
        await kernel.trigger("job")
        await gnomon_clock.advance(1)

        assert told(gnomon_events, "message") == ["ten", "twenty"]


async def test_step_changes_are_all_there_and_values_stay_with_their_step(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> None:
        for step in ("fetch", "check", "store"):
            current().step(step)
            for item in range(3):
                current().progress(processed_items=item, total_items=3)

    async with gnomon_kernel(job(body)) as kernel:
        execution = await run(kernel, gnomon_clock)

    assert told(gnomon_events, "step") == ["fetch", "check", "store"]
    assert [(step.name, step.status) for step in execution.progress.steps] == [
        ("fetch", "completed"),
        ("check", "completed"),
        ("store", "completed"),
    ]
    assert [(event.step, event.processed_items) for event in gnomon_events.of(Progress)] == [
        ("fetch", None),
        (None, 2),
        ("check", None),
        (None, 2),
        ("store", None),
        (None, 2),
    ]


async def test_declared_steps_give_the_percentage_by_their_weights(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    seen: list[float | None] = []

    async def body() -> None:
        context = current()
        for step in ("fetch", "store"):
            context.step(step)
            for _ in context.track(range(2)):
                await gnomon_clock.sleep(1)
                seen.append((await kernel.execution(context.execution_id)).progress.percent)

    steps = ["fetch", DeclaredStep("store", 3.0)]
    async with gnomon_kernel(job(body, steps=steps)) as kernel:
        execution = await run(kernel, gnomon_clock)

    assert seen == [0.0, 12.5, 25.0, 62.5]
    assert execution.progress.percent == 100.0


async def test_a_percentage_never_goes_back_and_is_never_beyond_its_bounds(
    gnomon_kernel: Make, gnomon_clock: VirtualClock
) -> None:
    seen: list[float | None] = []

    async def body() -> None:
        for percent in (-5, 40, 20, float("nan"), float("inf"), 60, 1e9):
            current().progress(percent)
            await gnomon_clock.sleep(1)
            seen.append((await kernel.execution(current().execution_id)).progress.percent)

    async with gnomon_kernel(job(body)) as kernel:
        await run(kernel, gnomon_clock)

    assert seen == [0.0, 40.0, 40.0, 40.0, 40.0, 60.0, 100.0]


async def test_tracking_tells_the_items_one_by_one(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    def rows() -> Iterator[str]:
        yield from ("a", "b")

    async def body() -> list[str]:
        done = []
        for row in current().track(rows(), total=2, describe=str.upper):
            await gnomon_clock.sleep(1)
            done.append(row)
        return done

    async with gnomon_kernel(job(body)) as kernel:
        execution = await run(kernel, gnomon_clock)

    assert execution.return_value == ["a", "b"]
    assert [(e.current_item, e.processed_items, e.total_items) for e in gnomon_events.of(Progress)] == [
        ("A", 0, 2),
        ("B", 1, 2),
        (None, 2, 2),
    ]


async def test_a_thread_tells_as_a_task_does_and_in_order(gnomon_kernel: Make, gnomon_events: EventList) -> None:
    def body(ctx: Context) -> None:
        for step in range(200):
            ctx.step(f"step {step}")
            ctx.progress(message=f"in step {step}")

    async with gnomon_kernel(job(body)) as kernel:
        execution = await kernel.wait((await kernel.trigger("job")).execution.id)

    order = [event.step or event.message for event in gnomon_events.of(Progress)]
    assert order == [text for n in range(200) for text in (f"step {n}", f"in step {n}")]
    assert execution.progress.step == "step 199"


async def test_what_the_kernel_takes_out_of_a_context_does_not_overtake_what_a_thread_told_before(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    told_it, go_on = threading.Event(), threading.Event()

    def body(ctx: Context) -> None:
        ctx.step("first")
        ctx.progress(message="of first")
        ctx.step("second")
        ctx.progress(message="of second")
        told_it.set()
        go_on.wait(60)

    async with gnomon_kernel(job(body)) as kernel:
        triggered = await kernel.trigger("job")
        told_it.wait(60)  # blocks the loop: all that the thread has told waits in line
        kernel._leader._supervisor._active[triggered.execution.id].context.flush()
        go_on.set()
        await kernel.wait(triggered.execution.id)

    order = [event.step or event.message for event in gnomon_events.of(Progress)]
    assert order == ["first", "of first", "second", "of second"]


async def test_many_threads_may_tell_at_once(gnomon_kernel: Make, gnomon_events: EventList) -> None:
    def body(ctx: Context) -> None:
        def tell(name: int) -> None:
            for n in range(100):
                ctx.progress(message=f"{name} {n}")

        threads = [threading.Thread(target=tell, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    async with gnomon_kernel(*[Job(id=f"job{n}", func=body) for n in range(4)]) as kernel:
        runs = [(await kernel.trigger(f"job{n}")).execution.id for n in range(4)]
        executions = [await kernel.wait(identity) for identity in runs]

    assert {execution.status for execution in executions} == {"success"}
    assert all((execution.progress.message or "").endswith(" 99") for execution in executions)


@pytest.mark.parametrize("text", ["half a character: \ud800", "nul \0", "x" * 1_000_000])
async def test_text_that_no_store_takes_is_made_fit(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, text: str
) -> None:
    async def body() -> None:
        context = current()
        context.steps(text, (text, 2.0))
        context.step(text)
        context.progress(message=text, current_item=text)
        context.log_line("info", text, "test")

    async with gnomon_kernel(job(body)) as kernel:
        execution = await run(kernel, gnomon_clock)

    assert execution.status == "success"
    assert 0 < len(execution.progress.message or "") < 5_000
    assert execution.progress.step == execution.progress.steps[0].name


async def test_a_weight_that_means_nothing_is_told_to_the_body(gnomon_kernel: Make, gnomon_clock: VirtualClock) -> None:
    async def body() -> None:
        current().steps(("fetch", float("nan")))

    async with gnomon_kernel(job(body)) as kernel:
        execution = await run(kernel, gnomon_clock)

    assert (execution.status, execution.error_type) == ("failed", "ValueError")
    assert "weight" in (execution.error_message or "")


@pytest.mark.parametrize("step", [DeclaredStep(123, 1.0), DeclaredStep("a", True), DeclaredStep("a", Decimal(2))])  # type: ignore[arg-type]
async def test_a_step_of_wrong_types_never_gets_into_the_log(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, step: DeclaredStep
) -> None:
    async def body() -> None:
        current().steps(step)
        current().step(step.name)

    async with gnomon_kernel(job(body)) as kernel:
        await run(kernel, gnomon_clock)

    assert [codec.decode(codec.encode(event)) for event in gnomon_events] == gnomon_events


async def test_what_is_told_after_the_end_changes_nothing(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    kept: list[Context] = []

    async def body() -> None:
        kept.append(current())

    async with gnomon_kernel(job(body)) as kernel:
        await run(kernel, gnomon_clock)
        kept[0].progress(50)
        kept[0].progress(60)
        await gnomon_clock.advance(10)

    assert gnomon_events.of(Progress) == []


class Told(list[dict[str, Any]]):
    """A sink that records its calls."""

    def record_progress(self, execution_id: str, fields: dict[str, Any]) -> None:
        self.append(fields)

    def flush_later(self, context: Context) -> None: ...

    def order(self, context: Context, order: BodyOrder) -> Answer[Any]:
        raise NotImplementedError


@given(st.lists(st.tuples(st.sampled_from(["progress", "step", "wait", "flush"]), st.integers(0, 9)), max_size=60))
def test_folding_what_is_written_gives_what_was_told(moves: list[tuple[str, int]]) -> None:
    passed, sink = 0.0, Told()
    scheduled = Scheduled(stream="0" * 24, version=1, at=START, node="", job_id="job", scheduled_time=START)
    context = Context(begin(scheduled), sink, monotonic=lambda: passed)
    expected: dict[str, Any] = {}
    steps = []
    for move, number in moves:
        if move == "progress":
            context.progress(message=str(number))
            expected["message"] = str(number)
        elif move == "step":
            context.step(str(number))
            steps.append(str(number))
        elif move == "flush":
            context.flush()
        else:
            passed += number / 20

    context.flush()

    folded: dict[str, Any] = {}
    for one in sink:
        folded |= one
    assert folded.get("message") == expected.get("message")
    assert [one["step"] for one in sink if "step" in one] == steps
