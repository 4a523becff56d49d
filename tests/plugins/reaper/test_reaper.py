"""What the reaper sees, says and does: on the virtual clock, with bodies that hang, talk, or end too late."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon import ConfigError, ExecutionQuery, Job, Kernel, Retry, current
from gnomon.api import LiveRun
from gnomon.conversion import convert
from gnomon.domain.events import Failed, LateResult, Warned
from gnomon.durations import Duration
from gnomon.testing import EventList, RecordingStore, VirtualClock, make_kernel
from gnomon_reaper import ReaperPlugin
from gnomon_sqlite import SqliteStore

MINUTE = timedelta(minutes=1)


class Scene:
    """A kernel on a virtual clock, with a reaper that looks on request."""

    def __init__(self, kernel: Kernel, clock: VirtualClock, events: EventList) -> None:
        self.kernel, self.clock, self.events = kernel, clock, events
        self.reaper = ReaperPlugin()

    async def start(self) -> str:
        execution_id = (await self.kernel.trigger("job")).execution.id
        await self.clock.settle()
        return execution_id

    async def look_every_minute(self, minutes: int) -> None:
        for _ in range(minutes):
            await self.clock.advance(MINUTE)
            await self.reaper.check(self.kernel)
        await self.clock.settle()


@asynccontextmanager
async def scene(body: Callable[..., Any] | str, **policies: Any) -> AsyncIterator[Scene]:
    clock, events = VirtualClock(), EventList()
    job = Job(id="job", func=body, **policies)
    async with make_kernel(job, clock=clock, store=RecordingStore(events)) as kernel:
        yield Scene(kernel, clock, events)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for goes on elsewhere
            await asyncio.sleep(0.005)


# --- the outcome of a run


async def test_a_run_that_is_silent_for_31_minutes_is_warned_about_and_ended_at_30() -> None:
    async def body() -> None:
        current().step("store")
        current().progress(40, "writing row 7")
        await one.clock.sleep(31 * 60)

    async with scene(body) as one:
        execution_id = await one.start()
        await one.look_every_minute(23)
        assert one.events.of(Warned) == []

        await one.look_every_minute(6)
        (warned,) = one.events.of(Warned)
        assert (warned.kind, warned.actor) == ("silence", "reaper")
        assert "no sign of life for 24m" in warned.message
        assert (await one.kernel.execution(execution_id)).warning == warned.message

        await one.look_every_minute(1)
        over = await one.kernel.execution(execution_id)

    assert (over.status, over.reason, over.execution_time) == ("failed", "zombie", 1800.0)
    for part in ("for 30m", "reached 40 %", "in step 'store'", "last reported 'writing row 7'", "set its `silence`"):
        assert part in (over.error_message or "")
    assert [event.actor for event in one.events.of(Failed)] == ["reaper"]


async def test_a_run_of_three_hours_that_reports_progress_is_left_alone() -> None:
    async def body() -> str:
        for minute in range(180):
            current().progress(minute / 1.8)
            await one.clock.sleep(60)
        return "done"

    async with scene(body) as one:
        execution_id = await one.start()
        await one.look_every_minute(181)
        over = await one.kernel.execution(execution_id)

    assert (over.status, over.return_value) == ("success", "done")
    assert one.events.of(Warned) == []


async def test_a_run_that_was_heard_from_again_is_warned_about_again() -> None:
    async def body() -> None:
        for _ in range(3):
            current().checkpoint()
            await one.clock.sleep(26 * 60)

    async with scene(body) as one:
        await one.start()
        await one.look_every_minute(79)

    assert len(one.events.of(Warned)) == 3
    assert one.events.of(Failed) == []


async def test_log_lines_are_signs_of_life() -> None:
    async def body() -> None:
        for _ in range(3):
            current().log_line("info", "still copying", "rsync")
            await one.clock.sleep(20 * 60)

    async with scene(body) as one:
        execution_id = await one.start()
        await one.look_every_minute(61)
        assert (await one.kernel.execution(execution_id)).status == "success"


async def test_a_job_with_a_silence_of_its_own_is_left_to_the_kernel() -> None:
    async def body() -> None:
        await one.clock.sleep(2 * 3600)

    async with scene(body, silence=Duration(hours=3)) as one:
        execution_id = await one.start()
        await one.look_every_minute(121)
        assert (await one.kernel.execution(execution_id)).status == "success"


async def test_a_hung_thread_frees_its_slot_once_and_its_result_comes_late(gate: threading.Event) -> None:
    def hangs() -> str:
        gate.wait()
        return "too late"

    async with scene(hangs) as one:
        execution_id = await one.start()
        second = await one.start()
        assert (await one.kernel.execution(second)).status == "scheduled"
        await one.look_every_minute(30)

        assert (await one.kernel.execution(execution_id)).reason == "zombie"
        assert (await one.kernel.execution(second)).status == "running"
        assert one.kernel.health().running == 1
        gate.set()
        await until(lambda: len(one.events.of(LateResult)) == 1)
        over = await one.kernel.wait(second)
        assert one.kernel.health().running == 0

    (late,) = one.events.of(LateResult)
    assert (late.stream, late.outcome, late.return_value) == (execution_id, "succeeded", "too late")
    assert (over.status, over.return_value) == ("success", "too late")


async def test_a_zombie_is_retried_where_its_job_has_retries() -> None:
    async def body() -> None:
        if current().attempt == 1:
            await one.clock.sleep(3600)

    async with scene(body, retry=Retry(attempts=2, delay=Duration())) as one:
        await one.start()
        await one.look_every_minute(31)
        page = await one.kernel.executions(ExecutionQuery())

    assert sorted((run.attempt, run.status) for run in page.items) == [(1, "failed"), (2, "success")]


HANGING = """
import os, pathlib, signal, time

def hang(pid_file):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pathlib.Path(pid_file).write_text(str(os.getpid()))
    time.sleep(3600)
"""


async def test_a_hung_process_that_ignores_signals_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hanging_body.py").write_text(HANGING, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    pid_file = tmp_path / "pid"
    grace = Duration(seconds=5)
    async with scene("hanging_body:hang", args=[str(pid_file)], runner="process", cancel_grace=grace) as one:
        execution_id = await one.start()
        await until(lambda: pid_file.exists() and bool(pid_file.read_text(encoding="utf-8")))
        await one.look_every_minute(30)
        await one.clock.advance(grace)
        over = await one.kernel.execution(execution_id)
        history = await one.kernel.history(execution_id)
        pid = int(pid_file.read_text(encoding="utf-8"))
        await until(lambda: not Path(f"/proc/{pid}").exists())

    assert (over.status, over.reason) == ("failed", "zombie")
    assert [event.type for event in history] == ["scheduled", "started", "warned", "failed"]


DYING = """
import asyncio, os, signal, sys

from gnomon import Kernel, Job
from gnomon_sqlite import SqliteStore

async def body():
    print("running", flush=True)
    await asyncio.Event().wait()

async def main():
    async with Kernel(store=SqliteStore(sys.argv[1]), jobs=[Job(id="job", func=body)]) as kernel:
        await kernel.trigger("job")
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_runs_of_a_killed_kernel_are_ended_at_the_next_start_before_the_reaper_checks(
    tmp_path: Path,
) -> None:
    database = tmp_path / "gnomon.db"
    with subprocess.Popen([sys.executable, "-c", DYING, database], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline() not in {"running\n", ""}:
            pass
        os.kill(process.pid, signal.SIGKILL)

    async def body() -> None: ...

    job = Job(id="job", func=body)
    async with make_kernel(job, store=SqliteStore(database), plugins=[ReaperPlugin()]) as kernel:
        (left,) = (await kernel.executions(ExecutionQuery())).items
        assert await kernel.live_runs() == []

    assert (left.status, left.reason) == ("failed", "lost")


# --- its own life


async def test_it_checks_periodically_on_the_clock_of_the_kernel() -> None:
    async def body() -> None:
        await asyncio.Event().wait()

    clock = VirtualClock()
    job = Job(id="job", func=body)
    async with make_kernel(job, clock=clock, plugins=[ReaperPlugin()]) as kernel:
        execution_id = (await kernel.trigger("job")).execution.id
        deadline = time.monotonic() + 60
        while (over := await kernel.execution(execution_id)).status == "running":
            assert time.monotonic() < deadline
            await clock.advance(MINUTE)
            await asyncio.sleep(0.005)  # the reaper looks in its own thread

    assert over.reason == "zombie"


async def test_the_check_is_a_job_with_a_history_that_can_be_triggered_and_paused() -> None:
    async def body() -> None:
        await asyncio.Event().wait()

    clock, reaper = VirtualClock(), ReaperPlugin()
    async with make_kernel(Job(id="job", func=body), clock=clock, plugins=[reaper]) as kernel:
        hung = (await kernel.trigger("job")).execution.id

        async def look() -> dict[str, Any]:
            triggered = await kernel.trigger("gnomon.reaper", resume=False)
            ended = await kernel.wait(triggered.execution.id)
            assert ended.status == "success"
            found: dict[str, Any] = ended.return_value
            return found

        assert await look() == {"watched": 1, "warned": [], "ended": []}
        await kernel.pause("gnomon.reaper")
        for _ in range(60):
            await clock.advance(MINUTE)
            await asyncio.sleep(0.001)
        assert (await kernel.execution(hung)).status == "running"  # only a look could end it

        deadline = time.monotonic() + 60
        while not (found := await look())["ended"]:  # an early one may find that it was not looked at for long
            assert time.monotonic() < deadline
            await clock.advance(MINUTE)
        assert found == {"watched": 1, "warned": found["warned"], "ended": [hung]}
        assert (await kernel.execution(hung)).reason == "zombie"

        await kernel.resume("gnomon.reaper")
        by_itself = ExecutionQuery(job_id="gnomon.reaper", status=("success",), is_manual=False)
        while (await kernel.executions(by_itself)).total < 2:
            assert time.monotonic() < deadline
            await clock.advance(MINUTE)
        looks = (await kernel.executions(by_itself)).items
        assert {one.return_value["watched"] for one in looks} == {0}


async def test_the_next_check_is_when_a_run_reaches_one_of_its_limits() -> None:
    async def body() -> None:
        await one.clock.sleep(3600)

    async with scene(body) as one:
        pauses = [await one.reaper.check(one.kernel)]
        await one.start()
        for minutes in (22, 2, 5, 1, 1):
            await one.clock.advance(minutes * MINUTE)
            pauses.append(await one.reaper.check(one.kernel))

    assert pauses == [300, 120, 300, 60, 300, 300]


async def test_time_in_which_the_kernel_did_not_run_is_no_silence_of_its_runs() -> None:
    async def body() -> None:
        await one.clock.sleep(24 * 3600)

    async with scene(body) as one:
        run = await one.start()
        await one.look_every_minute(10)
        one.reaper._due = one.clock.monotonic() + 90  # as it is before it sleeps until the next check
        await one.clock.stall(timedelta(hours=2))  # stopped, suspended, or the loop was blocked
        await one.reaper.check(one.kernel)
        await one.look_every_minute(23)
        assert [event.type for event in one.events if event.stream == run] == ["scheduled", "started"]
        await one.look_every_minute(1)
        assert len(one.events.of(Warned)) == 1
        await one.look_every_minute(6)
        over = await one.kernel.execution(run)

    assert (over.status, over.reason) == ("failed", "zombie")


async def test_a_pause_before_the_kernel_answers_is_no_silence_of_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        await one.clock.sleep(24 * 3600)

    async with scene(body) as one:
        run, answer = await one.start(), one.kernel.live_runs

        async def paused() -> list[LiveRun]:
            await one.clock.stall(timedelta(hours=2))
            return await answer()

        await one.look_every_minute(10)
        one.reaper._due = one.clock.monotonic()
        monkeypatch.setattr(one.kernel, "live_runs", paused)
        await one.reaper.check(one.kernel)
        monkeypatch.undo()

        assert (await one.kernel.execution(run)).status == "running"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"interval": 0}, "interval must be 1s or more, got 0s"),
        ({"interval": 0.000_001}, "interval must be 1s or more, got 0.001ms"),
        ({"threshold": "10ms"}, "threshold must be 1s or more, got 10ms"),
        ({"warn_at": 1.5}, "warn_at must be more than 0 and at most 1, got 1.5"),
        ({"treshold": "1m"}, "did you mean 'threshold'"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        convert(settings, ReaperPlugin.Config, "plugins.reaper", None)
