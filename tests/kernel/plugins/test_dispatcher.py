"""Plugins on their own threads: whatever one does, the jobs and the other plugins do not notice."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import Event, Job, Kernel, PluginError, Started, Succeeded, hookimpl
from gnomon.domain.records import Checkpoint
from gnomon.errors import StoreError, StoreUnavailableError
from gnomon.plugins.hook_caller import DEGRADED_AFTER
from gnomon.testing import EventList, RecordingStore, make_kernel

Make = Callable[..., Kernel]
MILLISECOND = timedelta(milliseconds=1)
SHORT = 500 * MILLISECOND


class Witness:
    """Keeps what it sees."""

    def __init__(self) -> None:
        self.seen: list[Event] = []

    @hookimpl
    def on_event(self, event: Event) -> None:
        self.seen.append(event)


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


async def quick() -> None: ...


JOB = Job(id="job", func=quick)


async def run_jobs(kernel: Kernel, count: int = 3) -> None:
    for _ in range(count):
        execution = await kernel.wait((await kernel.trigger("job")).execution.id)
        assert execution.status == "success"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for goes on in a thread
            await asyncio.sleep(0.001)


def health(kernel: Kernel, name: str) -> Any:
    return next(one for one in kernel.health().plugins if one.name == name)


def positions(events: Iterable[Event]) -> list[int]:
    return [event.position for event in events]


# --- hooks that misbehave


class Raising:
    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    @hookimpl
    def on_started(self, event: Started) -> None:
        raise self.error("no good")


class RaisingLater:
    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    @hookimpl
    async def on_started(self, event: Started) -> None:
        await asyncio.sleep(0)
        raise self.error("no good")


class SelfCancelling:
    @hookimpl
    async def on_started(self, event: Started) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)


class AwaitingSomethingCancelled:
    @hookimpl
    async def on_started(self, event: Started) -> None:
        task = asyncio.ensure_future(asyncio.sleep(1))
        task.cancel()
        await task


class UnshowableError(Exception):
    def __repr__(self) -> str:
        raise ZeroDivisionError

    __str__ = __repr__


@pytest.mark.parametrize(
    "plugin",
    [
        Raising(ValueError),
        Raising(SystemExit),
        Raising(KeyboardInterrupt),
        Raising(asyncio.CancelledError),
        Raising(StopIteration),
        Raising(TimeoutError),
        Raising(UnshowableError),
        RaisingLater(ValueError),
        RaisingLater(SystemExit),
        SelfCancelling(),
        AwaitingSomethingCancelled(),
    ],
    ids=lambda plugin: f"{type(plugin).__name__} {getattr(getattr(plugin, 'error', None), '__name__', '')}",
)
async def test_a_hook_that_raises_hurts_nobody_and_goes_on_being_called(
    gnomon_kernel: Make, witness: Witness, gnomon_events: EventList, plugin: Any
) -> None:
    with capture_logs() as logs:
        async with gnomon_kernel(JOB, plugins=[plugin, witness]) as kernel:
            await run_jobs(kernel)
            await until(lambda: kernel.is_idle)

            found = health(kernel, type(plugin).__name__)
            assert (found.failures, found.state, found.lag) == (3, "healthy", 0)
            assert "on_started" in found.problem
    assert witness.seen == gnomon_events
    failures = [line for line in logs if line["event"] == "plugin hook failed"]
    started = gnomon_events.of(Started)
    assert [(line["plugin"], line["hook"], line["event_type"]) for line in failures] == [
        (type(plugin).__name__, "on_started", "started")
    ] * 3
    assert [(line["run"], line["position"]) for line in failures] == [(e.stream, e.position) for e in started]


async def test_an_error_names_what_was_raised_and_a_time_limit_what_it_was() -> None:
    class Slow:
        @hookimpl
        async def on_started(self, event: Started) -> None:
            await asyncio.sleep(60)

    with capture_logs() as logs:
        async with make_kernel(JOB, plugins=[Slow(), Raising(TimeoutError)], hook_timeout=SHORT) as kernel:
            await run_jobs(kernel, 1)
            await until(lambda: kernel.is_idle)

    problems = {line["plugin"]: line["problem"] for line in logs if line["event"] == "plugin hook failed"}
    assert problems == {"Slow": "took longer than 0.5 s", "Raising": "TimeoutError('no good')"}


class Gated:
    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate
        self.seen: list[Event] = []


class Blocking(Gated):
    @hookimpl
    def on_event(self, event: Event) -> None:
        self.gate.wait()
        self.seen.append(event)


class BlockingInside(Gated):
    @hookimpl
    async def on_event(self, event: Event) -> None:
        self.gate.wait()
        self.seen.append(event)


@pytest.mark.parametrize("kind", [Blocking, BlockingInside])
async def test_a_hook_that_blocks_delays_only_its_own_plugin(
    gnomon_kernel: Make,
    witness: Witness,
    gnomon_events: EventList,
    gate: threading.Event,
    kind: type[Blocking | BlockingInside],
) -> None:
    plugin = kind(gate)
    async with gnomon_kernel(JOB, plugins=[plugin, witness]) as kernel:
        await run_jobs(kernel)
        await until(lambda: len(witness.seen) == 12)  # with the start of the kernel

        assert len(gnomon_events.of(Succeeded)) == 3
        assert plugin.seen == []
        assert health(kernel, kind.__name__).lag == 12
        gate.set()
        await until(lambda: kernel.is_idle)

    assert plugin.seen == witness.seen == gnomon_events


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_hook_that_sleeps_for_a_minute_is_left_behind(
    gnomon_kernel: Make, witness: Witness, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    monkeypatch.setattr("gnomon.engine.leader.FLUSH_LIMIT_S", 0.05)

    class Sleeping:
        @hookimpl
        def on_event(self, event: Event) -> Any:
            return self.sleep() if is_async else time.sleep(60)

        async def sleep(self) -> None:
            time.sleep(60)

    with capture_logs() as logs:
        async with gnomon_kernel(JOB, plugins=[Sleeping(), witness]) as kernel:
            await run_jobs(kernel)
            await until(lambda: len(witness.seen) == 12)

    left_behind = {line["plugin"]: line["problem"] for line in logs if line["event"] == "plugin did not stop"}
    assert left_behind["Sleeping"].startswith("hook on_event has not returned from event ")


async def test_a_slow_hook_is_ended_by_its_time_limit(gnomon_kernel: Make, witness: Witness) -> None:
    cancelled = []

    class Slow:
        @hookimpl
        async def on_event(self, event: Event) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(event.position)
                raise

    with capture_logs():
        async with gnomon_kernel(JOB, plugins=[Slow(), witness], hook_timeout=SHORT) as kernel:
            await run_jobs(kernel, 1)
            await until(lambda: kernel.is_idle)

    assert cancelled == [1, 2, 3, 4, 5, 6, 7]


async def test_a_plugin_that_blocks_is_reported_once_for_each_call(
    gnomon_kernel: Make, gate: threading.Event, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(JOB, plugins=[Blocking(gate)], hook_timeout=SHORT) as kernel:
        await until(lambda: health(kernel, "Blocking").state == "blocked")
        with capture_logs() as logs:
            for _ in range(3):
                kernel._leader._dispatcher.report_blocking()
        found = health(kernel, "Blocking")
        gate.set()
        await until(lambda: health(kernel, "Blocking").state == "healthy")

    assert "on_event has not returned from event 1 (kernel_started)" in found.problem
    assert [(line["event"], line["plugin"], line["run"]) for line in logs] == [
        ("plugin blocks", "Blocking", gnomon_events[0].stream)
    ]


async def test_a_plugin_that_keeps_failing_is_degraded_until_it_works_again(gnomon_kernel: Make) -> None:
    class Moody:
        works = False

        @hookimpl
        def on_event(self, event: Event) -> None:
            if not self.works:
                raise ValueError("not today")

    plugin = Moody()
    with capture_logs() as logs:
        async with gnomon_kernel(JOB, plugins=[plugin]) as kernel:
            await run_jobs(kernel, 40)
            await until(lambda: kernel.is_idle)
            assert health(kernel, "Moody").state == "degraded"
            assert health(kernel, "Moody").failures == 123

            plugin.works = True
            await run_jobs(kernel, 1)
            await until(lambda: kernel.is_idle)
            assert health(kernel, "Moody").state == "healthy"

    told = [line["failures_in_a_row"] for line in logs if line["event"] == "plugin hook failed"]
    assert told == [*range(1, DEGRADED_AFTER + 1), 16, 32, 64]


# --- what hooks see


async def test_each_event_goes_to_on_event_and_then_to_its_own_hook(gnomon_kernel: Make) -> None:
    calls: list[tuple[str, str, bool | None]] = []

    class Both:
        @hookimpl
        async def on_event(self, event: Event, replaying: bool) -> None:
            await asyncio.sleep(0)
            calls.append(("on_event", event.type, replaying))

        @hookimpl
        def on_succeeded(self, event: Succeeded) -> None:
            calls.append(("on_succeeded", event.type, None))

        @hookimpl
        def on_job_changed(self, replaying: bool) -> None:
            calls.append(("on_job_changed", "", replaying))

    async with gnomon_kernel(JOB, plugins=[Both()]) as kernel:
        await run_jobs(kernel, 1)
        await until(lambda: kernel.is_idle)

    assert calls == [
        ("on_event", "kernel_started", False),
        ("on_event", "kernel_led", False),
        ("on_event", "job_added", False),
        ("on_job_changed", "", False),
        ("on_event", "scheduled", False),
        ("on_event", "started", False),
        ("on_event", "succeeded", False),
        ("on_succeeded", "succeeded", None),
        ("on_event", "kernel_stopped", False),
    ]


async def test_whole_batches_come_in_order_and_what_is_replayed_comes_apart(gnomon_events: EventList) -> None:
    class Batches:
        durable = True

        def __init__(self) -> None:
            self.seen: list[tuple[list[int], bool]] = []

        @hookimpl
        async def on_events(self, events: Sequence[Event], replaying: bool) -> None:
            await asyncio.sleep(0)
            self.seen.append((positions(events), replaying))

    store = RecordingStore(gnomon_events)
    async with make_kernel(JOB, store=store) as kernel:
        await run_jobs(kernel, 2)
    old = len(gnomon_events)
    plugin = Batches()
    async with make_kernel(JOB, plugins=[plugin], store=store) as kernel:
        await run_jobs(kernel, 2)
        await until(lambda: kernel.is_idle)
        assert health(kernel, "Batches").delivered == len(gnomon_events)

    assert plugin.seen[0] == (list(range(1, old + 1)), True)
    assert not any(replaying for _, replaying in plugin.seen[1:])
    assert [one for batch, _ in plugin.seen for one in batch] == positions(gnomon_events)


async def test_a_batch_that_fails_is_one_failure_and_is_passed(gnomon_kernel: Make, witness: Witness) -> None:
    class Failing:
        calls = 0

        @hookimpl
        def on_events(self, events: Sequence[Event]) -> None:
            self.calls += 1
            raise ValueError("no good")

    plugin = Failing()
    with capture_logs():
        async with gnomon_kernel(JOB, plugins=[plugin, witness]) as kernel:
            await run_jobs(kernel)
            await until(lambda: kernel.is_idle)
            found, calls = health(kernel, "Failing"), plugin.calls

    assert (found.failures, found.lag) == (calls, 0)
    assert "on_events on event" in found.problem
    assert len(witness.seen) == 13


async def test_a_plugin_that_lags_far_behind_reads_from_the_store_and_loses_nothing(
    gnomon_kernel: Make, gnomon_events: EventList, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.plugins.event_buffer.CAPACITY", 20)
    monkeypatch.setattr("gnomon.plugins.subscriber.PAGE", 7)
    plugin = Blocking(gate)
    async with gnomon_kernel(JOB, plugins=[plugin]) as kernel:
        await run_jobs(kernel, 40)
        assert kernel._leader._dispatcher._subscribers[0]._buffer.size <= 20
        gate.set()
        await run_jobs(kernel, 40)
        await until(lambda: kernel.is_idle)

    assert positions(plugin.seen) == list(range(1, 245))
    assert plugin.seen == gnomon_events


async def test_a_plugin_that_is_not_durable_begins_where_the_log_ended_before_this_kernel(
    gnomon_kernel: Make, witness: Witness
) -> None:
    async with gnomon_kernel(JOB) as kernel:
        await run_jobs(kernel)
    async with gnomon_kernel(JOB, Job(id="new", func=quick), plugins=[witness]) as kernel:
        await until(lambda: kernel.is_idle)

    assert [(event.type, event.job_id) for event in witness.seen] == [
        ("kernel_started", ""),
        ("kernel_led", ""),
        ("job_added", "new"),
        ("kernel_stopped", ""),
    ]


# --- plugins that keep their place


class Durable:
    durable = True

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.replayed: list[int] = []

    @hookimpl
    def on_event(self, event: Event, replaying: bool) -> None:
        self.seen.append(event)
        if replaying:
            self.replayed.append(event.position)


async def test_a_durable_plugin_that_is_installed_later_sees_the_log_from_its_beginning(
    gnomon_kernel: Make, gnomon_events: EventList
) -> None:
    async with gnomon_kernel(JOB) as kernel:
        await run_jobs(kernel)
    plugin = Durable()
    async with gnomon_kernel(JOB, plugins=[plugin]) as kernel:
        await run_jobs(kernel, 1)
        await until(lambda: kernel.is_idle)

    assert plugin.seen == gnomon_events
    assert plugin.replayed == list(range(1, 14))


async def test_a_durable_plugin_goes_on_where_it_was(gnomon_kernel: Make, gnomon_events: EventList) -> None:
    plugins = [Durable() for _ in range(3)]
    for plugin in plugins:
        async with gnomon_kernel(JOB, plugins=[plugin]) as kernel:
            await run_jobs(kernel)

    assert [event for plugin in plugins for event in plugin.seen] == gnomon_events


async def test_a_place_that_is_beyond_the_log_is_not_believed(gnomon_kernel: Make, gnomon_events: EventList) -> None:
    store = gnomon_kernel.keywords["store"]  # type: ignore[attr-defined]
    plugin = Durable()
    async with store:
        await store.save_checkpoint("cursor:Durable", Checkpoint(1_000_000))
    async with gnomon_kernel(JOB, plugins=[plugin]) as kernel:
        await run_jobs(kernel, 1)
        await until(lambda: kernel.is_idle)

    assert EventList(plugin.seen).types == ["scheduled", "started", "succeeded"]


class AbsentStore(RecordingStore):
    """Cannot be read, nor keep a checkpoint, while it is away."""

    problem: StoreError | None = None

    async def read(self, after: int = 0, limit: int = 1000) -> list[Event]:
        self._check_away()
        return await super().read(after, limit)

    async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
        self._check_away()
        await super().save_checkpoint(name, checkpoint)

    def _check_away(self) -> None:
        if self.problem is not None:
            raise self.problem


@pytest.mark.parametrize("problem", [StoreUnavailableError("away"), StoreError("a page that nobody can read")])
async def test_a_store_that_does_not_answer_ends_no_plugin(
    monkeypatch: pytest.MonkeyPatch, problem: StoreError
) -> None:
    monkeypatch.setattr("gnomon.plugins.subscriber.STORE_RETRY_S", 0.005)
    store, plugin = AbsentStore(), Durable()
    with capture_logs() as logs:
        async with make_kernel(JOB, plugins=[plugin], store=store) as kernel:
            await until(lambda: kernel.is_idle)
            store.problem = problem
            await run_jobs(kernel)
            await until(lambda: any(line["event"] == "plugin waits for the store" for line in logs))

            store.problem = None
            await run_jobs(kernel)
            await until(lambda: kernel.is_idle and plugin.seen == store.recorded)

    assert len([line for line in logs if line["event"] == "plugin waits for the store"]) == 1


# --- lifespans


class Living:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, kernel: Kernel) -> AsyncIterator[None]:
        self.log.append(f"entered with {[view.job.id for view in await kernel.jobs()]}")
        yield
        self.log.append("left")

    @hookimpl
    def on_event(self, event: Event) -> None:
        self.log.append(event.type)


async def test_a_lifespan_is_entered_before_the_first_event_and_left_after_the_last(gnomon_kernel: Make) -> None:
    log: list[str] = []

    async with gnomon_kernel(JOB, plugins=[Living(log)]) as kernel:
        await run_jobs(kernel, 1)

    first, *told, last = log
    assert told == ["kernel_started", "kernel_led", "job_added", "scheduled", "started", "succeeded", "kernel_stopped"]
    assert (first, last) == ("entered with ['job']", "left")


async def test_a_plugin_may_use_the_kernel_from_its_own_loop(gnomon_kernel: Make, gnomon_events: EventList) -> None:
    class Chaining:
        @hookimpl
        async def on_succeeded(self, event: Succeeded, replaying: bool) -> None:
            if event.job_id == "job":
                await kernel.trigger("next", actor="chain")

    async with gnomon_kernel(JOB, Job(id="next", func=quick), plugins=[Chaining()]) as kernel:
        await run_jobs(kernel, 1)
        await until(lambda: len(gnomon_events.of(Succeeded)) == 2)

    assert [event.job_id for event in gnomon_events.of(Succeeded)] == ["job", "next"]


async def test_what_a_lifespan_triggers_while_the_kernel_starts_runs_when_it_has_started(
    gnomon_kernel: Make, gnomon_events: EventList
) -> None:
    class Early:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self, kernel: Kernel) -> AsyncIterator[None]:
            triggered = await kernel.trigger("job")
            assert triggered.execution.status == "scheduled"
            yield

    async with gnomon_kernel(JOB, plugins=[Early()]):
        await until(lambda: bool(gnomon_events.of(Succeeded)))


class Broken:
    def __init__(self, error: type[BaseException] | None) -> None:
        self.error = error

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        if self.error is not None:
            raise self.error("no database")
        yield


@pytest.mark.parametrize("error", [ValueError, SystemExit, asyncio.CancelledError])
async def test_a_plugin_that_cannot_start_stops_the_start_and_is_named(
    gnomon_kernel: Make, gnomon_events: EventList, error: type[BaseException]
) -> None:
    log: list[str] = []
    with capture_logs(), pytest.raises(PluginError, match=r"'Broken' could not start: .*no database"):
        async with gnomon_kernel(JOB, plugins=[Living(log), Broken(error)]):
            pytest.fail("it must not start")

    assert log[-1] == "left"


async def test_a_lifespan_that_hangs_stops_the_start(
    gnomon_kernel: Make, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.engine.leader.FLUSH_LIMIT_S", 0.05)
    monkeypatch.setattr("gnomon.plugins.dispatcher.SLOW_START_S", 0.01)
    monkeypatch.setattr("gnomon.plugins.dispatcher.START_LIMIT_S", 0.05)

    class Hanging:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            gate.wait()
            yield

    with capture_logs() as logs, pytest.raises(PluginError, match=r"'Hanging' did not start within 0\.05 s"):
        async with gnomon_kernel(JOB, plugins=[Hanging()], hook_timeout=50 * MILLISECOND):
            pytest.fail("it must not start")

    assert [line["plugin"] for line in logs if line["event"] == "plugin is still starting"] == ["Hanging"]


async def test_a_lifespan_that_is_no_context_manager_is_told_how_to_write_one(gnomon_kernel: Make) -> None:
    class Plain:
        @hookimpl
        def lifespan(self) -> None: ...

    expected = "'Plain' could not start: .* returned None, .*asynccontextmanager under @hookimpl"
    with capture_logs(), pytest.raises(PluginError, match=expected):
        async with gnomon_kernel(JOB, plugins=[Plain()]):
            pytest.fail("it must not start")


@pytest.mark.parametrize("in_a_hook", [False, True])
async def test_a_plugin_whose_work_has_failed_in_its_lifespan_has_ended_and_says_why(
    gnomon_kernel: Make, in_a_hook: bool
) -> None:
    class Worker:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            self.called = asyncio.Event()
            async with asyncio.TaskGroup() as work:
                work.create_task(self.work())
                yield

        async def work(self) -> None:
            await self.called.wait()
            raise ValueError("the queue is gone")

        @hookimpl
        async def on_started(self) -> None:
            self.called.set()
            if in_a_hook:
                await asyncio.sleep(3600)

    with capture_logs():
        async with gnomon_kernel(JOB, plugins=[Worker()]) as kernel:
            await run_jobs(kernel, 1)
            await until(lambda: health(kernel, "Worker").state == "stopped")
            problem = health(kernel, "Worker").problem
            await run_jobs(kernel, 1)

    assert problem is not None
    assert problem.startswith("plugin 'Worker' ended: ValueError: the queue is gone; it gets no more events until")


async def test_no_body_begins_where_a_plugin_cannot_start(gnomon_kernel: Make, gnomon_events: EventList) -> None:
    begun = []

    async def body() -> None:
        begun.append(1)

    class Early:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self, kernel: Kernel) -> AsyncIterator[None]:
            await kernel.trigger("job")
            await kernel.trigger("no such job")
            yield

    with capture_logs(), pytest.raises(PluginError):
        async with gnomon_kernel(Job(id="job", func=body), plugins=[Early()]):
            pytest.fail("it must not start")

    assert begun == []
    assert gnomon_events.types == ["job_added", "scheduled"]


async def test_a_plugin_that_raises_while_it_leaves_hurts_nobody(gnomon_kernel: Make) -> None:
    log: list[str] = []

    class Clumsy:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            yield
            raise SystemExit(3)

    with capture_logs() as logs:
        async with gnomon_kernel(JOB, plugins=[Living(log), Clumsy()]) as kernel:
            await run_jobs(kernel, 1)

    assert log[-1] == "left"
    assert "plugin ended" in {line["event"] for line in logs}


async def test_a_plugin_that_blocks_takes_no_time_from_the_others_when_the_kernel_leaves(
    gnomon_kernel: Make, gnomon_events: EventList, gate: threading.Event
) -> None:
    class Careful:
        seen: list[Event] = []  # noqa: RUF012 - there is one

        @hookimpl
        async def on_event(self, event: Event) -> None:
            await asyncio.sleep(0.01)
            self.seen.append(event)
            if len(self.seen) == 10:
                gate.set()  # the other one has blocked for as long as this one had something to do

    careful = Careful()
    with capture_logs():
        async with gnomon_kernel(JOB, plugins=[careful, Blocking(gate)]) as kernel:
            await run_jobs(kernel)

    assert careful.seen == gnomon_events


async def test_a_hook_that_wakes_up_when_the_kernel_is_gone_hurts_nobody(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.engine.leader.FLUSH_LIMIT_S", 0.05)

    class Late(Blocking):
        durable = True

    plugin = Late(gate)
    with capture_logs() as logs:
        async with make_kernel(JOB, plugins=[plugin]) as kernel:
            subscriber = kernel._leader._dispatcher._subscribers[0]
        gate.set()
        await until(subscriber.left.done)

    assert isinstance(subscriber.left.exception(), PluginError | StoreError)
    assert "plugin ended" in {line["event"] for line in logs}


# --- trouble that no hook raises


class Away(Witness):
    problem: str | None = "its server is away"


class Unwell(Witness):
    @property
    def problem(self) -> str | None:
        raise ValueError("no idea")


async def test_a_plugin_that_says_what_is_wrong_is_degraded_until_it_says_that_nothing_is(gnomon_kernel: Make) -> None:
    plugin = Away()
    async with gnomon_kernel(JOB, plugins=[plugin]) as kernel:
        await run_jobs(kernel)
        await until(lambda: kernel.is_idle)
        away = health(kernel, "Away")
        plugin.problem = None
        well = health(kernel, "Away")

    assert (away.state, away.problem, away.failures) == ("degraded", "its server is away", 0)
    assert (well.state, well.problem) == ("healthy", None)


async def test_a_plugin_that_cannot_say_how_it_is_doing_does_not_spoil_the_health(gnomon_kernel: Make) -> None:
    async with gnomon_kernel(JOB, plugins=[Unwell()]) as kernel:
        found = health(kernel, "Unwell")

    assert found.state == "degraded"
    assert found.problem == "its attribute `problem` cannot be read: ValueError: no idea"
