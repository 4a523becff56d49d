"""Bodies that block the event loop: noticed by a thread, named in the log, in health, in explain; timeouts hold."""

import asyncio
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from gnomon import Duration, Failed, Kernel, KernelHeldUp, LateResult, Missed, Succeeded, Warned
from gnomon.analysis.explain import explain
from gnomon.clock import SystemClock
from gnomon.domain.events import BLOCKED_LOOP
from gnomon.engine.loop_watchdog import LoopWatchdog, Runs, Stall, is_waiting
from gnomon.jobs.job import Job
from gnomon.testing import EventList, RecordingStore, make_kernel
from gnomon.threads import in_thread

LIMIT = timedelta(milliseconds=100)


async def quick() -> None: ...


def real_kernel(*jobs: Job, **settings: Any) -> Kernel:
    return make_kernel(*jobs, clock=SystemClock(), **{"blocked_loop_after": LIMIT, **settings})


def recorded(kernel: Kernel) -> EventList:
    store = kernel._store
    assert isinstance(store, RecordingStore)
    return store.recorded


def block_until_noticed(kernel: Kernel) -> None:
    """Block this thread, which is the loop's, until the watchdog has seen it."""
    watchdog = kernel._leader._watchdog
    assert watchdog is not None
    before, deadline = watchdog._last, time.monotonic() + 60
    while watchdog._last is before and time.monotonic() < deadline:
        time.sleep(0.01)


async def test_a_body_that_blocks_the_loop_is_named_while_it_does_and_gets_a_warning() -> None:
    seen: list[str | None] = []

    async def blocking() -> None:
        block_until_noticed(kernel)
        seen.append(kernel.health().problem)

    async with real_kernel(Job(id="bad", func=blocking)) as kernel:
        with capture_logs() as logs:
            run = (await kernel.trigger("bad")).execution
            await kernel.wait(run.id)
        health = kernel.health()

        (warned,) = recorded(kernel).of(Warned)
        assert recorded(kernel).of(Succeeded)

    (line,) = [line for line in logs if line["event"] == "the event loop is blocked"]
    assert line["by"] == f"run {run.id} of job 'bad'"
    assert "block_until_noticed" in line["stack"]
    assert re.search(rf"blocked for \d+\.\d s by run {run.id} of job 'bad', at ", str(seen[0]))
    assert (health.state, health.blocked_by) == ("degraded", run.id)
    assert re.search("the event loop (has been|was) blocked", health.problems["loop"])
    assert (warned.kind, warned.stream, warned.actor) == (BLOCKED_LOOP, run.id, None)
    assert warned.seconds is not None
    assert warned.seconds >= 0.1
    assert 'runner = "thread"' in warned.message


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks do not tell their context")
async def test_a_task_that_a_body_has_started_is_named_by_its_run() -> None:
    async def child() -> None:
        block_until_noticed(kernel)

    async def body() -> None:
        await asyncio.create_task(child())

    async with real_kernel(Job(id="bad", func=body)) as kernel:
        run = (await kernel.trigger("bad")).execution
        await kernel.wait(run.id)

        assert kernel.health().blocked_by == run.id
        assert [warned.stream for warned in recorded(kernel).of(Warned)] == [run.id]


async def test_a_body_that_goes_on_after_it_has_blocked_is_warned_once() -> None:
    async def blocking() -> None:
        for _ in range(2):
            stalls = kernel.health().loop_stalls
            block_until_noticed(kernel)
            while kernel.health().loop_stalls == stalls:  # noqa: ASYNC110 - it is counted in a thread
                await asyncio.sleep(0.001)

    async with real_kernel(Job(id="bad", func=blocking)) as kernel:
        await kernel.wait((await kernel.trigger("bad")).execution.id)

        assert kernel.health().loop_stalls == 2
        assert kernel.health().loop_stalled_s >= 0.2
        assert len(recorded(kernel).of(Warned)) == 1


async def test_a_body_that_blocks_beyond_its_timeout_has_failed() -> None:
    async def blocking() -> str:
        time.sleep(0.15)
        return "done"

    job = Job(id="bad", func=blocking, timeout=timedelta(seconds=0.1))  # type: ignore[arg-type]
    async with real_kernel(job) as kernel:
        await kernel.wait((await kernel.trigger("bad")).execution.id)

        (failed,) = recorded(kernel).of(Failed)
        (late,) = recorded(kernel).of(LateResult)

    assert failed.reason == "timeout"
    assert "longer than its timeout of 100ms" in (failed.error_message or "")
    assert (late.outcome, late.return_value) == ("succeeded", "done")


async def test_a_thread_that_blocks_holds_up_nobody() -> None:
    released = threading.Event()

    def blocking() -> None:
        released.wait(60)

    async with real_kernel(Job(id="good", func=blocking), blocked_loop_after=timedelta(seconds=5)) as kernel:
        run = (await kernel.trigger("good")).execution
        await asyncio.sleep(0.3)
        released.set()
        await kernel.wait(run.id)

        assert kernel.health().loop_stalls == 0
        assert recorded(kernel).of(Warned) == []


async def test_time_in_which_the_whole_process_stood_still_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is stopped, or a machine that is suspended, has not blocked its loop."""

    class Runs:
        def note_stall(self, task: asyncio.Task[Any] | None, stall: Stall) -> None:
            raise AssertionError("the loop was blamed")

        def record_stall(self, stall: Stall) -> None: ...

    watchdog = LoopWatchdog(1.0, Runs())
    times = iter([0.0, 60.0, 60.1])  # the thread itself wakes up a minute late, and no CPU time has passed
    waits = iter([False, True])
    standing = SimpleNamespace(monotonic=lambda: next(times), process_time=lambda: 0.0)
    monkeypatch.setattr("gnomon.engine.loop_watchdog.time", standing)
    monkeypatch.setattr(watchdog._answered, "wait", lambda _: next(waits))

    watchdog._wait_for_answer(0.1)

    assert watchdog.count == 0


async def test_a_fire_that_came_late_because_of_it_names_the_run_that_blocked() -> None:
    async def blocking() -> None:
        block_until_noticed(kernel)
        due = next_fire.timestamp()
        while time.time() < due + 0.3:
            time.sleep(0.01)

    tick = Job(id="tick", func=quick, every=Duration(seconds=1), catch_up="none", grace=Duration(milliseconds=50))
    async with real_kernel(Job(id="bad", func=blocking), tick) as kernel:
        fire = (await kernel.job("tick")).next_fire
        assert fire is not None
        next_fire = fire
        run = (await kernel.trigger("bad")).execution
        await kernel.wait(run.id)
        async with asyncio.timeout(60):
            while not recorded(kernel).of(Missed, "tick"):  # noqa: ASYNC110 - the timetable comes to it at once
                await asyncio.sleep(0.01)
        missed = recorded(kernel).of(Missed, "tick")[0]
        store = kernel._store

        explanation = await explain(store, "tick", missed.scheduled_time, kernel.clock.now())

    assert (missed.reason, missed.blocked_by) == ("late", run.id)
    assert missed.detail == f"the event loop was blocked by run {run.id} of job 'bad'"
    assert f"That was run {run.id} of job bad" in " ".join(explanation.fires[0].sentences)


class Blocking:
    """A trigger in code of the user that waits in its n-th call, until the watchdog has noticed."""

    def __init__(self, call: int) -> None:
        self.call = call
        self.calls = 0
        self.kernel: Kernel | None = None

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        self.calls += 1
        if self.calls == self.call and self.kernel is not None:
            block_until_noticed(self.kernel)
        return (previous or now) + timedelta(seconds=0.2) if self.calls <= self.call else None


async def test_a_trigger_that_blocks_the_loop_is_named_with_its_job() -> None:
    trigger = Blocking(call=3)
    tick = Job(id="tick", func=quick, every=Duration(milliseconds=20))
    async with real_kernel(Job(id="bad", func=quick, trigger=trigger), tick) as kernel:
        trigger.call, trigger.kernel = trigger.calls + 2, kernel
        with capture_logs() as logs:
            async with asyncio.timeout(60):
                while not recorded(kernel).of(KernelHeldUp):  # noqa: ASYNC110 - recorded once the loop answers
                    await asyncio.sleep(0.01)
        health = kernel.health()
        (held_up,) = recorded(kernel).of(KernelHeldUp)

    (line,) = [line for line in logs if line["event"] == "the event loop is blocked"]
    assert line["by"] == "the trigger of job 'bad'"
    assert "read what it needs in advance" in line["advice"]
    assert "by the trigger of job 'bad', at " in health.problems["loop"]
    assert (held_up.kind, held_up.held_by) == ("blocked", "bad")
    assert "by the trigger of job 'bad', at " in held_up.detail


@pytest.mark.parametrize(("call", "during"), [(1, "timetable.py"), (9, "fire_samples.py")])
async def test_a_trigger_that_blocks_the_start_is_named(call: int, during: str) -> None:
    trigger = Blocking(call=1)
    kernel = real_kernel(Job(id="bad", func=quick, trigger=trigger))
    trigger.call, trigger.kernel = trigger.calls + call, kernel
    with capture_logs() as logs:
        async with kernel:
            pass

    (line,) = [line for line in logs if line["event"] == "the event loop is blocked"]
    assert line["by"] == "the trigger of job 'bad'"
    assert during in line["stack"]


# --- a loop that waits is not woken up ---


class CountedLooks:
    """Counts the looks of a watchdog, and what it asks of the loop meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self.looks = self.pings = 0
        self._done = threading.Event()
        self._goal = 0
        self._thread = threading.get_ident()
        self.watchdog = LoopWatchdog(0.1, cast(Runs, None))
        call = loop.call_soon_threadsafe

        def counted(callback: Callable[..., Any], *args: Any, **options: Any) -> asyncio.Handle:
            self.pings += callback == self.watchdog._answered.set
            return call(callback, *args, **options)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        monkeypatch.setattr(self.watchdog.pauses, "look", self._look)

    def _look(self) -> None:
        self.looks += 1
        if self.looks >= self._goal:
            self._done.set()

    @contextmanager
    def running(self) -> Iterator[None]:
        self.watchdog.start()
        try:
            yield
        finally:
            self.watchdog.stop()

    async def pass_by(self, count: int) -> None:
        """Wait on the loop, which has nothing else to do, for so many looks."""
        self._goal, self._done = self.looks + count, threading.Event()
        await in_thread(lambda: self._done.wait(60), "looks")


async def test_a_loop_that_waits_is_not_woken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = CountedLooks(monkeypatch)
    with counted.running():
        await counted.pass_by(60)
    # The loop is at work only around the wait, when a look may fall.
    assert counted.pings <= 5


async def test_a_loop_that_works_is_pinged_and_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = CountedLooks(monkeypatch)
    with counted.running():
        deadline = time.monotonic() + 60
        while counted.pings < 3 and time.monotonic() < deadline:
            # Long enough for the interpreter to switch: else the watchdog is only in while the loop looks for events.
            sum(range(2_000_000))
            await asyncio.sleep(0)
    assert counted.pings >= 3
    assert counted.watchdog.count == 0


@pytest.mark.parametrize("is_nested", [False, True])
async def test_a_loop_within_code_that_blocks_is_not_taken_for_the_loop_of_the_kernel(is_nested: bool) -> None:
    thread, found = threading.get_ident(), threading.Event()
    said: list[bool] = []

    def look() -> None:
        """Call it while a selector waits, in the one loop or in the inner one."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            names = [frame.f_code.co_name for frame, _ in traceback.walk_stack(sys._current_frames()[thread])]
            if names[0] == "select" and names.count("_run_once") == 1 + is_nested:
                said.append(is_waiting(thread))
                break
            time.sleep(0.001)
        found.set()

    async def wait() -> None:
        looker = threading.Thread(target=look)
        looker.start()
        while not found.is_set():  # noqa: ASYNC110 - it is set in another thread
            await asyncio.sleep(0.05)
        looker.join()

    if is_nested:
        outer = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        with asyncio.Runner() as runner:
            runner.run(wait())
        asyncio._set_running_loop(outer)
    else:
        await wait()

    assert said == [not is_nested]
