"""Whatever values foreign code passes, through whatever entrance: the log can be read, and the kernel goes on."""

import asyncio
import contextlib
import decimal
import enum
import logging
import math
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gnomon import Duration, GnomonError, Job, Kernel, current, hookimpl
from gnomon.testing import RecordingStore, VirtualClock, check_store, make_kernel

MINUTE = timedelta(minutes=1)


class Text(str):
    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        raise SystemExit

    def __str__(self) -> str:
        raise KeyboardInterrupt

    def __len__(self) -> int:
        raise ZeroDivisionError


class Number(int):
    def __str__(self) -> str:
        raise SystemExit

    def __int__(self) -> int:
        raise KeyboardInterrupt


class Unreadable:
    def __repr__(self) -> str:
        raise SystemExit

    def __float__(self) -> float:
        raise MemoryError

    def __iter__(self) -> Any:
        raise SystemExit

    def __eq__(self, _: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]


class Colour(enum.IntEnum):
    RED = 1


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(5_000):
        value = [value]
    return value


STRANGE: tuple[Callable[[], Any], ...] = (
    *(lambda: Text("text"), lambda: Number(3), Unreadable, lambda: Colour.RED, endless, deep, object, lambda: object),
    *(lambda: math.nan, lambda: math.inf, lambda: -math.inf, lambda: 10**400, lambda: -(2**70), lambda: 1e308),
    *(lambda: "\ud800", lambda: "a\0b", lambda: "x" * 100_000, lambda: b"\xff", lambda: {1, "a"}, lambda: (1, (2,))),
    *(lambda: {1: 2}, lambda: {(1, 2): 3}, lambda: {"\ud800": 1}, lambda: {"a": Unreadable()}, lambda: [math.nan]),
    *(
        lambda: decimal.Decimal("NaN"),
        lambda: datetime.max.replace(tzinfo=UTC),
        lambda: datetime.min.replace(tzinfo=UTC),
        lambda: timedelta.max,
    ),
    *(lambda: iter(()), lambda: lambda: None, lambda: True, lambda: None, lambda: 1j, lambda: range(3)),
)
VALUES = st.one_of(
    st.sampled_from(STRANGE).map(lambda make: make()),
    st.integers(),
    st.floats(),
    st.text(st.characters(codec=None, exclude_categories=())),  # lone surrogates too
    st.binary(max_size=8),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3), part, max_size=3),
        max_leaves=5,
    ),
)


def raised(value: Any) -> None:
    raise type("Odd", (Exception,), {"__str__": lambda _: value})(value)


REPORTS: dict[str, Callable[[Any], Any]] = {
    "percent": lambda value: current().progress(value),
    "message": lambda value: current().progress(message=value),
    "item": lambda value: current().progress(current_item=value),
    "counts": lambda value: current().progress(processed_items=value, total_items=value),
    "step": lambda value: current().step(value),
    "steps": lambda value: current().steps(value),
    "weight": lambda value: current().steps(("a", value)),
    "skip": lambda value: current().skip(value),
    "track": lambda value: list(current().track([value], total=value, describe=lambda _: value)),
    "log": lambda value: logging.getLogger("body").warning(value),
    "log arguments": lambda value: logging.getLogger("body").warning("%s %d", value, value),
    "result": lambda value: value,
    "exception": raised,
    "print": print,
}
"""What a body does with a value; it may fail as it likes."""

COMMANDS: dict[str, Callable[[Kernel, str, Any], Any]] = {
    "kwargs": lambda kernel, _, value: kernel.trigger("idle", kwargs={"value": value}),
    "kwargs, all": lambda kernel, _, value: kernel.trigger("idle", kwargs=value),
    "actor": lambda kernel, _, value: kernel.trigger("idle", actor=value),
    "key": lambda kernel, _, value: kernel.trigger("idle", idempotency_key=value),
    "pause": lambda kernel, _, value: kernel.pause("idle", reason=value),
    "cancel": lambda kernel, run, value: kernel.cancel(run, reason=value),
    "fail": lambda kernel, run, value: kernel.fail(run, value),
    "fail, reason": lambda kernel, run, value: kernel.fail(run, "it hangs", reason=value),
    "warn": lambda kernel, run, value: kernel.warn(run, value, value),
    "describe": lambda kernel, _, value: kernel.describe("idle", display_name=value, note=value),
    "add": lambda kernel, _, value: kernel.add_job(Job(id="new", func=idle, kwargs={"value": value})),
    "add, name": lambda kernel, _, value: kernel.add_job(Job(id="new", func=idle, name=value, tags=value)),
    "add, tags": lambda kernel, _, value: kernel.add_job(Job(id="new", func=idle, tags=[value], steps=[value])),
}
"""What code with the kernel's API does with a value; it may be refused with any Exception."""


async def idle(value: Any = None) -> None:
    pass


async def proven(store: RecordingStore) -> None:
    """Check that every event of the log is what its own JSON gives back, and that the views follow from it."""
    await store.open(read_only=True)
    await check_store(store)


@pytest.mark.parametrize("entrance", REPORTS)
@pytest.mark.parametrize("runner", ["async", "thread"])
@settings(max_examples=8, deadline=None)
@given(value=VALUES)
def test_no_value_of_a_body_harms_the_log(entrance: str, runner: str, value: Any) -> None:
    def report() -> Any:
        return REPORTS[entrance](value)

    async def report_here() -> Any:
        return REPORTS[entrance](value)

    async def live() -> None:
        store = RecordingStore()
        body = report_here if runner == "async" else report
        async with make_kernel(Job(id="a", func=body), Job(id="neighbour", func=idle), store=store) as kernel:
            run = (await kernel.trigger("a")).execution
            neighbour = (await kernel.trigger("neighbour")).execution
            assert (await kernel.wait(run.id)).is_over
            assert (await kernel.wait(neighbour.id)).status == "success"
            assert kernel.health().state == "healthy"
        await proven(store)

    with capture_logs():
        asyncio.run(live())


@pytest.mark.parametrize("entrance", COMMANDS)
@settings(max_examples=12, deadline=None)
@given(value=VALUES)
def test_no_value_of_a_command_harms_the_log(entrance: str, value: Any) -> None:
    async def live() -> None:
        store, may_end = RecordingStore(), asyncio.Event()

        async def waits() -> None:
            await may_end.wait()

        async with make_kernel(Job(id="waits", func=waits), Job(id="idle", func=idle), store=store) as kernel:
            run = (await kernel.trigger("waits")).execution
            with contextlib.suppress(BaseException):  # refused, in whatever way
                await COMMANDS[entrance](kernel, run.id, value)
            may_end.set()
            assert (await kernel.wait(run.id)).is_over
            assert kernel.health().state == "healthy"
        await proven(store)

    with capture_logs():
        asyncio.run(live())


@settings(max_examples=25, deadline=None)
@given(value=VALUES)
def test_no_verdict_of_a_guard_harms_the_log(value: Any) -> None:
    class Odd:
        @hookimpl
        def guard(self) -> Any:
            return value

    async def live() -> None:
        clock, store = VirtualClock(), RecordingStore()
        every = Job(id="a", func=idle, every=Duration(minutes=1))
        async with make_kernel(every, clock=clock, store=store, plugins=[Odd()]) as kernel:
            await clock.advance(3 * MINUTE)
            assert kernel.health().store_state == "healthy"
        assert len([event for event in store.recorded if event.is_fire]) == 3
        await proven(store)

    with capture_logs():
        asyncio.run(live())


class Vandal:
    """Puts what no log can hold into every list and dict that it gets hold of."""

    def __init__(self, found: Any) -> None:
        self.spoil(found)

    def spoil(self, found: Any) -> None:
        if isinstance(found, dict):
            for part in list(found.values()):
                self.spoil(part)
            found["vandal"] = self
        elif isinstance(found, list):
            for part in list(found):
                self.spoil(part)
            found.append(self)
        elif hasattr(found, "__struct_fields__"):
            for field in found.__struct_fields__:
                self.spoil(getattr(found, field))


async def spoil_jobs(kernel: Kernel, _: str) -> None:
    Vandal(await kernel.jobs())
    Vandal(await kernel.job("a"))


async def spoil_runs(kernel: Kernel, run: str) -> None:
    Vandal(await kernel.execution(run))
    Vandal((await kernel.trigger("a")).execution)
    Vandal(await kernel.live_runs())


async def spoil_events(kernel: Kernel, run: str) -> None:
    Vandal(await kernel.history(run))
    Vandal(await kernel.events())


@pytest.mark.parametrize("spoil", [spoil_jobs, spoil_runs, spoil_events])
async def test_nobody_can_change_the_state_of_the_kernel_through_an_answer(
    spoil: Callable[[Kernel, str], Any],
) -> None:
    clock, store, may_end = VirtualClock(), RecordingStore(), asyncio.Event()

    async def body(where: Any, *rows: Any) -> Any:
        await may_end.wait()
        return {"rows": list(rows), "where": where}

    job = Job(
        id="a",
        func=body,
        args=[{"market": "cn"}, [1]],
        tags=["x"],
        steps=["fetch"],
        every=Duration(minutes=1),
        overlap="allow",
        max_instances=9,
    )
    async with make_kernel(job, clock=clock, store=store) as kernel:
        first = (await kernel.trigger("a")).execution.id
        await spoil(kernel, first)
        may_end.set()
        await clock.advance(2 * MINUTE)
        await spoil(kernel, first)
        await clock.advance(2 * MINUTE)
        assert kernel.health().state == "healthy"
        assert (await kernel.execution(first)).return_value == {"rows": [[1]], "where": {"market": "cn"}}
    assert "Vandal" not in repr(store.recorded)
    await proven(store)


@pytest.mark.parametrize("who", ["the caller", "the body"])
async def test_arguments_that_change_later_change_no_other_run(who: str) -> None:
    clock, store = VirtualClock(), RecordingStore()
    given_args, given_kwargs = [[1]], {"where": {"market": "cn"}}

    def body(rows: Any, where: Any) -> None:
        if who == "the body":
            Vandal([rows, where])

    job = Job(id="a", func=body, args=given_args, kwargs=given_kwargs, every=Duration(minutes=1))
    async with make_kernel(job, clock=clock, store=store) as kernel:
        if who == "the caller":
            Vandal([given_args, given_kwargs])
        await clock.advance(3 * MINUTE)
        assert kernel.health().state == "healthy"

    scheduled = [event for event in store.recorded if event.type == "scheduled"]
    assert [(event.args, event.kwargs) for event in scheduled] == [([[1]], {"where": {"market": "cn"}})] * 3  # type: ignore[attr-defined]
    await proven(store)


async def test_a_plugin_whose_arguments_raise_does_not_end_the_loop() -> None:
    told: list[Any] = []

    class Careless:
        @hookimpl
        @contextlib.asynccontextmanager
        async def lifespan(self, kernel: Kernel) -> AsyncIterator[None]:
            for value in (Text("text"), Unreadable()):
                try:
                    await kernel.trigger("a", kwargs={"value": value}, actor=value)  # type: ignore[arg-type]
                except GnomonError as exc:
                    told.append(exc)
            yield

    with capture_logs():
        async with make_kernel(Job(id="a", func=idle), plugins=[Careless()]) as kernel:
            assert (await kernel.wait((await kernel.trigger("a")).execution.id)).status == "success"

    assert told


async def test_a_command_that_the_log_cannot_hold_is_refused_with_its_cause() -> None:
    async with make_kernel(Job(id="a", func=idle)) as kernel:
        with pytest.raises(GnomonError, match="reason: expected text, got 7"):
            await kernel.pause("a", reason=7)  # type: ignore[arg-type]
        with pytest.raises(GnomonError, match="half a character"):
            await kernel.pause("a", reason="\ud800")
        assert not (await kernel.job("a")).state.paused
