"""What operators say of jobs, what they hide, and what the log tells of their acts."""

import asyncio
import re
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from gnomon import (
    ActTextError,
    Cancelled,
    CancelRequested,
    ExecutionQuery,
    ExecutionRunningError,
    GnomonError,
    Hidden,
    Job,
    JobAdded,
    JobDescribed,
    JobError,
    Kernel,
    LateResult,
    ReservedNameError,
    RunOrder,
    UnknownExecutionError,
    UnknownJobError,
    hookimpl,
)
from gnomon.domain.events import JobEvent
from gnomon.domain.job_order import JobOrder
from gnomon.domain.records import ActionQuery
from gnomon.testing import EventList, VirtualClock, check_store, make_kernel

Make = Callable[..., Kernel]


async def quick() -> None: ...


def job(body: Callable[..., Any] = quick, **policies: Any) -> Job:
    keys: dict[str, Any] = {"id": "job", "func": body, **policies}
    return Job(**keys)


async def finished(kernel: Kernel) -> str:
    return (await kernel.wait((await kernel.trigger("job")).execution.id)).id


async def acts(kernel: Kernel) -> list[tuple[str, str, str]]:
    return [(one.action, one.actor, one.status) for one in (await kernel.actions(ActionQuery())).items]


# --- words


async def test_an_operators_words_for_a_job_outlive_a_restart_and_another_definition(
    gnomon_kernel: Make, gnomon_clock: VirtualClock
) -> None:
    async with gnomon_kernel(job(name="Sync")) as kernel:
        assert await kernel.describe("job", display_name=" Nightly prices ", note="ask Bob first", actor="ann")
        store = kernel._store

    async with make_kernel(job(name="Other", tags=["x"]), store=store, clock=gnomon_clock) as kernel:
        view = await kernel.job("job")

    assert (view.state.display_name, view.state.note, view.job.name) == ("Nightly prices", "ask Bob first", "Other")


async def test_what_is_not_given_is_left_and_what_is_empty_is_taken_away(gnomon_kernel: Make) -> None:
    async with gnomon_kernel(job()) as kernel:
        await kernel.describe("job", display_name="Nightly", note="ask Bob first")
        await kernel.describe("job", note="")

        state = (await kernel.job("job")).state

    assert (state.display_name, state.note) == ("Nightly", "")


async def test_words_that_change_nothing_are_not_recorded(gnomon_kernel: Make, gnomon_events: EventList) -> None:
    async with gnomon_kernel(job()) as kernel:
        assert await kernel.describe("job", display_name="Nightly", note="")
        assert not await kernel.describe("job", display_name="Nightly", note=" ")
        assert not await kernel.describe("job")

    (event,) = gnomon_events.of(JobDescribed)
    assert (event.display_name, event.note) == ("Nightly", None)


@pytest.mark.parametrize(("name", "most"), [("display_name", 50), ("note", 200)])
async def test_a_text_that_is_too_long_is_refused(gnomon_kernel: Make, name: str, most: int) -> None:
    async with gnomon_kernel(job()) as kernel:
        assert await kernel.describe("job", **{name: "x" * most})
        with pytest.raises(JobError, match=f"may have {most} characters, got {most + 1}"):
            await kernel.describe("job", **{name: "x" * (most + 1)})
        with pytest.raises(UnknownJobError):
            await kernel.describe("jab", **{name: "x"})


async def test_plugins_learn_of_an_operators_words_as_of_any_change_of_a_job(gnomon_clock: VirtualClock) -> None:
    class Listener:
        heard: ClassVar[list[str]] = []

        @hookimpl
        def on_job_changed(self, event: JobEvent) -> None:
            self.heard.append(event.type)

    listener = Listener()
    async with make_kernel(job(), plugins=[listener], clock=gnomon_clock) as kernel:
        await kernel.describe("job", note="ask Bob first")

    assert listener.heard == ["job_added", "job_described"]


# --- hiding


async def test_a_hidden_run_is_not_in_lists_and_is_found_by_its_id(gnomon_kernel: Make) -> None:
    async with gnomon_kernel(job()) as kernel:
        gone, shown = await finished(kernel), await finished(kernel)

        hidden = await kernel.hide(gone, actor="ann")

        page = await kernel.executions(ExecutionQuery())
        assert ([one.id for one in page.items], page.total) == ([shown], 1)
        assert hidden == await kernel.execution(gone)
        assert (hidden.hidden, hidden.status) == (True, "success")
        assert [event.type for event in await kernel.history(gone)][-1] == "hidden"
        assert not kernel._leader._journal.live
        await check_store(kernel._store)


async def test_hiding_twice_or_twice_at_once_makes_one_event(gnomon_kernel: Make, gnomon_events: EventList) -> None:
    async with gnomon_kernel(job()) as kernel:
        gone = await finished(kernel)

        await asyncio.gather(*(kernel.hide(gone, actor=f"nr {n}") for n in range(5)))
        await kernel.hide(gone, actor="late")

        assert kernel.health().state == "healthy"
    assert [event.actor for event in gnomon_events.of(Hidden)] == ["nr 0"]


async def test_what_is_not_over_cannot_be_hidden(gnomon_kernel: Make, gnomon_clock: VirtualClock) -> None:
    async def slow() -> None:
        await gnomon_clock.sleep(60)

    async with gnomon_kernel(job(slow)) as kernel:
        running = (await kernel.trigger("job")).execution.id
        waiting = (await kernel.trigger("job")).execution.id

        for going, status in ((running, "running"), (waiting, "scheduled")):
            with pytest.raises(ExecutionRunningError, match=f"has not ended .{status}.; nothing was changed"):
                await kernel.hide(going)
        with pytest.raises(UnknownExecutionError):
            await kernel.hide("0" * 24)


async def test_a_run_that_is_hidden_while_its_body_goes_on_still_keeps_its_late_result(
    gnomon_kernel: Make, gnomon_events: EventList
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def body() -> str:
        begun.set()
        go_on.wait(60)
        return "too late"

    async with gnomon_kernel(job(body)) as kernel:
        running = (await kernel.trigger("job")).execution.id
        await in_real_time(begun.is_set)
        await kernel.fail(running, "it hangs", actor="ann")
        await kernel.hide(running, actor="ann")
        go_on.set()
        await in_real_time(lambda: bool(gnomon_events.of(LateResult)))

        execution = await kernel.execution(running)
        assert (execution.hidden, execution.late_result) == (True, "succeeded")
        await check_store(kernel._store)


# --- acts


async def test_the_acts_of_operators_are_told_newest_first(gnomon_kernel: Make) -> None:
    async with gnomon_kernel(job()) as kernel:
        await kernel.pause("job", actor="ann", reason="holidays")
        triggered = await kernel.trigger("job", actor="bob")
        await kernel.wait(triggered.execution.id)
        await kernel.hide(triggered.execution.id, actor="cid")
        await kernel.describe("job", note="ask Bob first", actor="cid")

        page = await kernel.actions(ActionQuery(job_id="job", limit=2))

        assert await acts(kernel) == [
            ("describe", "cid", "success"),
            ("hide", "cid", "success"),
            ("trigger", "bob", "success"),
            ("resume", "bob", "success"),
            ("pause", "ann", "success"),
        ]
        assert ([one.action for one in page.items], page.total) == (["describe", "hide"], 5)
        assert page.items[1].execution_id == triggered.execution.id


@pytest.mark.parametrize("name", ["kernel", "Kernel", " KERNEL "])
async def test_the_name_of_the_kernel_is_refused_for_operators(gnomon_kernel: Make, name: str) -> None:
    async with gnomon_kernel(job()) as kernel:
        with pytest.raises(ReservedNameError, match="is reserved for acts of the kernel itself"):
            await kernel.pause("job", actor=name)
        with pytest.raises(ReservedNameError):
            await kernel.trigger("job", actor=name)

        assert await acts(kernel) == []


class Text(str):
    """A text of which JSON could make anything."""

    __slots__ = ()


@pytest.mark.parametrize("text", [7, b"ann", ["ann"], Text("ann"), "\ud800", "\udcff.csv", "a" * 10_001], ids=ascii)
@pytest.mark.parametrize("name", ["actor", "owner", "reason"])
async def test_texts_that_the_log_could_not_give_back_are_refused_before_anything_is_recorded(
    gnomon_kernel: Make, name: str, text: Any
) -> None:
    async with gnomon_kernel(job()) as kernel:
        head = (await kernel.events())[-1].position
        orders = [
            kernel.add_job("asyncio:sleep", id="other", args=[0], **{name: text}),
            kernel.add_jobs([], **{name: text}),
            kernel.apply_jobs([], **{name: text}),
        ]
        if name != "owner":
            orders += [kernel.pause("job", **{name: text}), kernel.hold(**{name: text})]
        for order in orders:
            with pytest.raises(ActTextError, match=f"^{name}: "):
                await order

        assert (await kernel.events())[-1].position == head
        assert kernel.health().state == "healthy"


async def test_an_owner_without_a_name_is_refused(gnomon_kernel: Make) -> None:
    async with gnomon_kernel(job()) as kernel:
        for order in (
            kernel.add_job("asyncio:sleep", id="other", args=[0], owner=""),
            kernel.apply_jobs([], owner=""),
            kernel.order_job(JobOrder(how="add", job_id="other", keys={"func": "asyncio:sleep"}, owner="")),
        ):
            with pytest.raises(ActTextError, match="owner: expected the name of an owner, got an empty text"):
                await order
        assert await kernel.pause("job", actor="ann", reason="")


async def test_acts_of_the_kernel_are_marked_and_not_listed(gnomon_kernel: Make, gnomon_events: EventList) -> None:
    async with gnomon_kernel(job(asyncio.Event().wait)) as kernel:
        await kernel.trigger("job", actor="ann")

    acts: list[Any] = [*gnomon_events.of(CancelRequested), *gnomon_events.of(Cancelled), *gnomon_events.of(JobAdded)]
    assert [(event.actor, event.by_kernel) for event in acts] == [("kernel", True)] * 3


async def test_a_trigger_that_a_guard_refuses_is_a_failed_act_of_who_asked(gnomon_clock: VirtualClock) -> None:
    class Closed:
        @hookimpl
        def guard(self) -> str:
            return "the exchange is closed"

    async with make_kernel(job(), plugins=[Closed()], clock=gnomon_clock) as kernel:
        triggered = await kernel.trigger("job", actor="ann")

        (action,) = (await kernel.actions(ActionQuery())).items

    assert (triggered.execution.status, triggered.execution.actor) == ("missed", "ann")
    assert (action.action, action.actor, action.status) == ("trigger", "ann", "failed")
    assert action.error_message == "the exchange is closed"


async def test_what_could_not_begin_has_failed(gnomon_kernel: Make) -> None:
    async with gnomon_kernel(job()) as kernel:
        with pytest.raises(UnknownJobError):
            await kernel.trigger("jab", actor="ann")

        assert await acts(kernel) == [("trigger", "ann", "failed")]


async def in_real_time(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a thread sets no event of the loop
            await asyncio.sleep(0.001)


# --- values of other types


def anything(value: Any) -> Any:
    """Pass a value whose type the signature forbids."""
    return value


WRONG: dict[str, tuple[Callable[[Kernel], Any], str]] = {
    "interval": (
        lambda kernel: anything(kernel).add_job(quick, "interval", minutes=5),
        "passed by name, got 'interval'; its schedule is a key: every=\"5m\"",
    ),
    "trigger": (lambda kernel: anything(kernel).add_job(quick, 5), "passed by name, got 5; its schedule is a key: eve"),
    "apply": (lambda kernel: kernel.apply_jobs(anything(None)), "expected a list of jobs, got None"),
    "apply owner": (lambda kernel: kernel.apply_jobs(anything(7), owner="a"), "expected a list of jobs, got 7"),
    "jobs": (lambda kernel: kernel.add_jobs(anything(quick)), "expected a list of jobs, got <function quick"),
    "text": (lambda kernel: kernel.add_jobs("a:b"), "expected a list of jobs, got 'a:b'; write [...] around"),
    "order": (
        lambda kernel: kernel.trigger_many(anything(RunOrder("job"))),
        "orders: expected a list of orders, got R",
    ),
    "orders": (
        lambda kernel: kernel.trigger_many(anything(["job"])),
        "expected a RunOrder such as RunOrder('nightly')",
    ),
    "labels": (
        lambda kernel: kernel.trigger("job", labels=anything(7)),
        "labels: expected a mapping such",
    ),
    "kwargs": (lambda kernel: kernel.trigger("job", kwargs=anything([1])), "kwargs: expected a mapping"),
    "key": (lambda kernel: kernel.trigger("job", idempotency_key=anything(7)), "idempotency_key: expected text, got 7"),
    "function": (lambda kernel: kernel.trigger(anything(quick)), "expected the id of a job, got <function quick"),
    "list": (lambda kernel: kernel.pause(anything(["job"])), "expected the id of a job, got ['job']"),
    "skip": (lambda kernel: kernel.skip("job", anything("2026")), "fire: expected a datetime such as"),
    "backfill": (lambda kernel: kernel.backfill("job", anything("a"), anything("b")), "since: expected a datetime"),
}


@pytest.mark.parametrize(("call", "problem"), WRONG.values(), ids=WRONG)
async def test_a_value_of_another_type_is_refused_with_what_was_expected(
    gnomon_kernel: Make, call: Callable[[Kernel], Any], problem: str
) -> None:
    async with gnomon_kernel(job(every="1h")) as kernel:
        with pytest.raises(GnomonError, match=re.escape(problem)):
            await call(kernel)
        assert [view.job.id for view in await kernel.jobs()] == ["job"]
