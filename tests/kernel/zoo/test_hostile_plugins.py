"""Hostile plugins × hooks: the kernel lives, no run stays running, a neighbour fires on time, health tells."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from gnomon import Event, Job, Kernel, PluginError, Started, hookimpl
from gnomon.domain.records import ExecutionQuery, StoreHealth
from gnomon.plugins.plugin_set import PluginSet
from gnomon.testing import EventList, RecordingStore, VirtualClock, make_kernel

LIMIT = timedelta(milliseconds=300)
ALIVE = {"healthy", "degraded"}
"""A busy machine may degrade a kernel: its loop was blocked, or its starts are late."""


class UnshowableError(Exception):
    """Ends the process that shows it."""

    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class HugeError(Exception):
    def __str__(self) -> str:
        return "x" * 50_000_000

    __repr__ = __str__


class HalfCharacterError(Exception):
    def __str__(self) -> str:
        return "half a character \ud83d"

    __repr__ = __str__


class StrangeText(str):
    """A text whose methods raise."""

    __slots__ = ()

    def encode(self, *args: Any, **kwargs: Any) -> bytes:
        raise KeyboardInterrupt

    def __len__(self) -> int:
        raise SystemExit

    def __str__(self) -> str:
        raise asyncio.CancelledError

    __repr__ = __format__ = replace = __getitem__ = __str__  # type: ignore[assignment]


RAISED: dict[str, Callable[[], BaseException]] = {
    "ValueError": ValueError,
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "CancelledError": asyncio.CancelledError,
    "GeneratorExit": GeneratorExit,
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "a group": lambda: BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError("no")]),
    "unshowable": UnshowableError,
    "huge": HugeError,
    "half a character": HalfCharacterError,
}


def raiser(name: str) -> Callable[..., Any]:
    def function(*_: Any) -> Any:
        make = RAISED[name]
        raise make()

    return function


@pytest.fixture(params=RAISED)
def raising(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return raiser(request.param)


async def quick() -> None: ...


async def minutes_pass(kernel: Kernel, count: int) -> None:
    clock = kernel.clock
    assert isinstance(clock, VirtualClock)
    for _ in range(count):
        await clock.advance(60)


@contextlib.asynccontextmanager
async def survives(*plugins: Any, store: RecordingStore | None = None, named: str = "Hostile") -> AsyncIterator[Kernel]:
    """Run a kernel with a job each minute and these plugins for five minutes, and look what has become of it."""
    store = store or RecordingStore()
    neighbour = Job(id="neighbour", func=quick, cron="* * * * *")
    witness = Witness()
    with capture_logs():
        async with make_kernel(neighbour, store=store, plugins=[*plugins, witness], hook_timeout=LIMIT) as kernel:
            await minutes_pass(kernel, 5)
            yield kernel
            health = kernel.health()
            assert health.state in ALIVE
            if named:
                mine = next(one for one in health.plugins if one.name == named)
                assert mine.problem, "health tells"
                assert len(mine.problem) < 5_000
                json.dumps(msgspec.to_builtins(health)).encode()  # what the web plugin does with it
            page = await kernel.executions(ExecutionQuery(job_id="neighbour", limit=100))
            delays = [one.delay or 0.0 for one in store.recorded if isinstance(one, Started)]
            assert len(delays) == 5, "a neighbour fired on time"
            assert max(delays) < 60
            assert {run.status for run in page.items} == {"success"}, "no run stays running"
            assert not kernel.health().running
            await until(lambda: len(witness.seen) == len(store.recorded))


class Witness:
    def __init__(self) -> None:
        self.seen: list[Event] = []

    @hookimpl
    def on_event(self, event: Event) -> None:
        self.seen.append(event)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for goes on in a thread
            await asyncio.sleep(0.001)


# --- guards


async def test_whatever_a_guard_raises_fires_run_and_the_clock_goes_on(raising: Callable[..., Any]) -> None:
    class Hostile:
        @hookimpl
        def guard(self, job: Job) -> str | None:
            found: str | None = raising()
            return found

    async with survives(Hostile()):
        pass


async def test_a_guard_that_raises_once_is_asked_again() -> None:
    asked = []

    class Hostile:
        @hookimpl
        def guard(self, job: Job) -> str | None:
            asked.append(job.id)
            if len(asked) == 1:
                raise asyncio.CancelledError
            return None

    async with survives(Hostile(), named=""):
        assert len(asked) == 5


async def test_fires_run_unguarded_when_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hostile:
        @hookimpl
        def guard(self, job: Job) -> str | None:
            return "never asked"

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("gnomon.plugins.guards.in_thread", refuse)
    async with survives(Hostile(), named=""):
        pass


VETOES = {
    "half a character": "closed \ud83d today",
    "50 MB": "x" * 50_000_000,
    "a NUL": "closed\0today",
    "a strange text": StrangeText("closed"),
}


@pytest.mark.parametrize("veto", VETOES.values(), ids=VETOES)
async def test_a_veto_is_recorded_whatever_its_text(veto: str) -> None:
    class Hostile:
        @hookimpl
        def guard(self, job: Job) -> str | None:
            return veto if job.id == "vetoed" else None

    vetoed = Job(id="vetoed", func=quick, cron="* * * * *")
    store = RecordingStore()
    with capture_logs():
        async with make_kernel(vetoed, store=store, plugins=[Hostile()]) as kernel:
            await minutes_pass(kernel, 3)
            page = await kernel.executions(ExecutionQuery(job_id="vetoed"))
            assert kernel.health().state in ALIVE

    assert [(run.status, run.reason) for run in page.items] == [("missed", "guard")] * 3
    for event in store.recorded:
        assert len(msgspec.json.encode(event)) < 10_000


@pytest.mark.parametrize(
    "answer", [True, 1.5, b"closed", object(), UnshowableError()], ids=lambda one: type(one).__name__
)
async def test_an_answer_that_is_not_a_sentence_is_not_a_veto(answer: Any) -> None:
    class Hostile:
        @hookimpl
        def guard(self, job: Job) -> Any:
            return answer

    async with survives(Hostile()):
        pass


# --- facts


async def test_whatever_a_hook_raises_is_its_own_affair(raising: Callable[..., Any]) -> None:
    class Hostile:
        @hookimpl
        def on_event(self, event: Event) -> None:
            raising()

    async with survives(Hostile()) as kernel:
        await until(lambda: all(one.lag == 0 for one in kernel.health().plugins))


async def test_whatever_an_asynchronous_hook_raises_is_its_own_affair(raising: Callable[..., Any]) -> None:
    class Hostile:
        @hookimpl
        async def on_started(self, event: Started) -> None:
            await asyncio.sleep(0)
            raising()

    async with survives(Hostile()) as kernel:
        await until(lambda: all(one.lag == 0 for one in kernel.health().plugins))


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
async def test_what_a_task_of_a_hook_raises_fails_the_hook_and_not_the_plugin(ending: type[BaseException]) -> None:
    async def child() -> None:
        await asyncio.sleep(0)
        raise ending

    class Hostile:
        @hookimpl
        async def on_started(self, event: Started) -> None:
            await asyncio.wait_for(child(), 60)

    async with survives(Hostile()) as kernel:
        await until(lambda: all(one.lag == 0 for one in kernel.health().plugins))
        (mine,) = [one for one in kernel.health().plugins if one.name == "Hostile"]
        assert (mine.state, mine.failures, kernel.health().state) == ("healthy", 5, "healthy")


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
async def test_what_a_callback_of_a_hook_raises_is_named(ending: type[BaseException]) -> None:
    def end() -> None:
        raise ending

    class Hostile:
        @hookimpl
        async def on_started(self, event: Started) -> None:
            asyncio.get_running_loop().call_soon(end)
            await asyncio.sleep(0)

    async with survives(Hostile()) as kernel:
        await until(lambda: all(one.lag == 0 for one in kernel.health().plugins))
        (mine,) = [one for one in kernel.health().plugins if one.name == "Hostile"]
        assert mine.state == "healthy"
        assert f"tried to end the process: {ending.__name__}" in str(mine.problem)


async def test_a_hook_cannot_stop_the_loop_of_its_plugin() -> None:
    class Hostile:
        @hookimpl
        async def on_started(self, event: Started) -> None:
            asyncio.get_running_loop().stop()

    async with survives(Hostile()) as kernel:
        await until(lambda: all(one.lag == 0 for one in kernel.health().plugins))
        assert "loop.stop() is refused" in str(kernel.health().plugins[0].problem)


async def test_health_names_a_plugin_that_has_ended() -> None:
    class Hostile:
        @hookimpl
        async def on_started(self, event: Started) -> None:
            for task in asyncio.all_tasks():
                task.cancel()

    async with survives(Hostile()) as kernel:
        await until(lambda: kernel.health().plugins[0].state == "stopped")
        health = kernel.health()

    assert health.state == "degraded"
    assert "plugin 'Hostile' ended: asyncio.exceptions.CancelledError; it gets no more events" in str(health.problem)


# --- lifespans


async def test_a_lifespan_that_fails_later_ends_its_plugin_only(raising: Callable[..., Any]) -> None:
    class Hostile:
        @hookimpl
        @contextlib.asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            async def work() -> None:
                await asyncio.sleep(0)
                raising()

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(work())
                yield

    async with survives(Hostile(), named=""):
        pass


@pytest.mark.parametrize("name", [name for name in RAISED if not name.startswith("Stop")])
async def test_a_lifespan_that_cannot_be_entered_stops_the_start_with_a_sentence(name: str) -> None:
    class Hostile:
        @hookimpl
        @contextlib.asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            raiser(name)()
            yield

    with capture_logs(), pytest.raises(PluginError, match="'Hostile' could not start") as caught:
        async with make_kernel(plugins=[Hostile()]):
            raise AssertionError

    assert len(str(caught.value)) < 5_000
    str(caught.value).encode()


# --- what is called at the start


@pytest.mark.parametrize("hook", ["register_jobs", "register_store"])
def test_whatever_a_contribution_raises_is_a_sentence(hook: str, raising: Callable[..., Any]) -> None:
    class Hostile:
        @hookimpl
        def register_jobs(self, register: Any) -> None:
            raising()

        @hookimpl
        def register_store(self, register: Any) -> None:
            raising()

    plugin = PluginSet().add(Hostile)

    with pytest.raises(PluginError, match=f"'Hostile' failed in {hook}") as caught:
        plugin.contribute(hook, print)

    assert len(str(caught.value)) < 5_000
    str(caught.value).encode()


def test_whatever_a_constructor_raises_is_a_sentence(raising: Callable[..., Any]) -> None:
    class Hostile(Witness):
        def __init__(self) -> None:
            raising()

    with pytest.raises(PluginError, match="'Hostile' cannot be created"):
        PluginSet().add(Hostile)


def test_whatever_a_config_raises_is_a_sentence() -> None:
    class Hostile(Witness):
        class Config(msgspec.Struct):
            limit: int = 0

            def __post_init__(self) -> None:
                raise KeyboardInterrupt

        def __init__(self, config: Config) -> None: ...

    with pytest.raises(PluginError, match="'Hostile' cannot be created: KeyboardInterrupt"):
        PluginSet().add(Hostile, settings={"limit": 1})


class Unreadable(type):
    """A metaclass that hides what classes tell of themselves."""

    def __getattribute__(cls, name: str) -> Any:
        if name in {"__name__", "__qualname__", "__module__", "__doc__", "__mro__"}:
            raise KeyboardInterrupt
        return type.__getattribute__(cls, name)

    def __repr__(cls) -> str:
        raise SystemExit


class Nameless(metaclass=Unreadable):
    @hookimpl
    def on_event(self, event: Event) -> None: ...


@pytest.mark.parametrize("plugin", [Nameless, Nameless()], ids=["class", "object"])
def test_a_plugin_whose_class_cannot_be_read_has_its_name(plugin: Any) -> None:
    assert PluginSet().add(plugin).name == "Nameless"


def test_a_plugin_that_raises_whatever_it_is_asked_is_a_sentence(raising: Callable[..., Any]) -> None:
    class Hostile:
        __class__ = property(raising)

        def __getattribute__(self, name: str) -> Any:
            raising()

    with pytest.raises(PluginError, match="plugin 'Hostile' "):
        PluginSet().add(Hostile())


async def test_a_kernel_takes_its_plugins_in_any_iterable() -> None:
    witness = Witness()
    async with Kernel(jobs=[Job(id="x", func=quick)], plugins=[witness]) as kernel:
        await kernel.wait((await kernel.trigger("x")).execution.id)
        await until(lambda: [event.type for event in witness.seen][-1:] == ["succeeded"])


@pytest.mark.parametrize("attribute", ["durable", "JobOptions", "anything"])
def test_whatever_an_attribute_raises_is_a_sentence(attribute: str, raising: Callable[..., Any]) -> None:
    hostile = type("Hostile", (Witness,), {attribute: property(raising)})

    with contextlib.suppress(PluginError):  # a private property need not be reported
        PluginSet().add(hostile)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


def test_what_hangs_at_the_start_is_named_and_given_up(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon.plugins.plugin_set.START_LIMIT_S", 0.05)

    class Hostile:
        @hookimpl
        def register_jobs(self, register: Any) -> None:
            gate.wait()

    plugin = PluginSet().add(Hostile)
    with pytest.raises(PluginError, match=r"'Hostile' failed in register_jobs: did not return within 0\.05 s"):
        plugin.jobs()


# --- its own word


async def test_a_problem_that_raises_is_a_problem(raising: Callable[..., Any]) -> None:
    async with survives(type("Hostile", (Witness,), {"problem": property(raising)})()):
        pass


async def test_a_problem_that_hangs_holds_up_nobody(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon.plugins.plugin_set.PROBLEM_LIMIT_S", 0.05)
    asked = []

    def hang(_: Any) -> None:
        asked.append(1)
        gate.wait()

    async with survives(type("Hostile", (Witness,), {"problem": property(hang)})()) as kernel:
        for _ in range(5):
            kernel.health()
        assert len(asked) == 1, "it is not asked again before it has answered"


@pytest.mark.parametrize("problem", VETOES.values(), ids=VETOES)
async def test_a_problem_is_shown_whatever_its_text(problem: str) -> None:
    class Hostile(Witness):
        pass

    hostile: Any = Hostile()
    hostile.problem = problem
    async with survives(hostile):
        pass


# --- the store


async def test_a_store_that_cannot_report_its_health_goes_on(raising: Callable[..., Any]) -> None:
    class Hostile(RecordingStore):
        def health(self) -> StoreHealth:
            found: StoreHealth = raising()
            return found

    store = Hostile()
    with capture_logs():
        async with make_kernel(Job(id="x", func=quick, cron="* * * * *"), store=store) as kernel:
            await minutes_pass(kernel, 3)
            health = kernel.health()
            page = await kernel.executions(ExecutionQuery(job_id="x"))

    assert health.state == "degraded"
    assert "cannot report its health" in str(health.problem)
    assert [run.status for run in page.items] == ["success"] * 3


# --- one plugin and the next


async def test_no_plugin_can_change_what_another_one_or_the_kernel_sees() -> None:
    class Vandal:
        @hookimpl(tryfirst=True)
        def on_event(self, event: Any) -> None:
            for field in event.__struct_fields__:
                value = getattr(event, field)
                if isinstance(value, dict):
                    vandalize(value)
                elif isinstance(value, list):
                    value.append("vandal")
                msgspec.structs.force_setattr(event, field, None)

        @hookimpl
        def guard(self, job: Job) -> str | None:
            job.args.append("vandal")
            vandalize(job.kwargs)
            return None

    def vandalize(value: dict[str, Any]) -> None:
        for nested in list(value.values()):
            if isinstance(nested, dict):
                vandalize(nested)
        value["vandal"] = True

    def body(**_: Any) -> Any:
        return {"rows": [1, {"deep": []}]}

    witness, store = Witness(), RecordingStore()
    job = Job(id="x", func=body, kwargs={"where": {"market": "cn"}})
    async with make_kernel(job, store=store, plugins=[Vandal(), witness]) as kernel:
        run = await kernel.wait((await kernel.trigger("x")).execution.id)
        await until(lambda: kernel.is_idle)
        state = next(one for one in await store.jobs() if one.job_id == "x")

    assert run.status == "success", run
    assert EventList(witness.seen).types == ["job_added", "scheduled", "started", "succeeded"]
    assert "vandal" not in repr(witness.seen) + repr(store.recorded) + repr(run) + repr(state)
    assert run.return_value == {"rows": [1, {"deep": []}]}
    assert run.kwargs == {"where": {"market": "cn"}}
