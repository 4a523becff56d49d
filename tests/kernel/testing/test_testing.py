"""The helpers and fixtures that authors of plugins and jobs use in their own tests."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnomon import Context, Duration, Event, Execution, Job, Kernel, Scheduled, Succeeded, hookimpl, job
from gnomon.domain import events
from gnomon.domain.job_state import JobState
from gnomon.testing import EventList, VirtualClock, check_log, check_store, make_job
from gnomon.testing.clock import START
from gnomon.testing.histories import NOON, SECOND, extend, missed, numbered, scheduled, succeeded

pytest_plugins = ["pytester"]
HOUR = timedelta(hours=1)


# --- a log that breaks a promise is found out


def broken(log: list[Event], number: int, **changes: Any) -> list[Event]:
    return [*log[:number], msgspec.structs.replace(log[number], **changes), *log[number + 1 :]]


def test_a_correct_log_passes() -> None:
    check_log(numbered(succeeded("sync"), missed("sync", NOON + SECOND), scheduled("other")))


GOOD = numbered(succeeded("sync"))


@pytest.mark.parametrize(
    ("log", "problem"),
    [
        (broken(GOOD, 2, position=4), "positions"),
        (broken(GOOD, 2, version=4), "versions"),
        (numbered(extend(scheduled("sync"), events.Succeeded, execution_time=1.0)), "illegal"),
        (numbered(scheduled("sync"), broken(missed("sync"), 0, stream="0" * 24)), "two"),
        (numbered(missed("sync", NOON + 9 * SECOND, count=3, first=NOON, last=NOON + 9 * SECOND), scheduled()), "two"),
        (broken(GOOD, 0, kwargs={"x": (1, 2)}), "encoding"),
    ],
)
def test_a_log_that_breaks_a_guarantee_is_found(log: list[Event], problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        check_log(log)


def test_views_that_do_not_follow_from_the_log_are_found() -> None:
    with pytest.raises(AssertionError, match="other executions"):
        check_log(GOOD, executions=[])
    with pytest.raises(AssertionError, match="has the jobs"):
        check_log([], jobs=[JobState(job_id="x", anchor=NOON)])


# --- fixtures


async def test_a_job_can_be_run_as_its_function(gnomon_run_job: Callable[..., Awaitable[Execution]]) -> None:
    @job(every="1h", retry={"attempts": 5})
    def declared(ctx: Context, market: str = "de") -> str:
        ctx.progress(50, "half way")
        return market

    async def plain(market: str) -> str:
        return market

    results = [await gnomon_run_job(body, market="cn") for body in (declared, plain, make_job(plain, id="x"))]
    failed = await gnomon_run_job(lambda: 1 / 0)

    assert [(one.job_id, one.return_value) for one in results] == [("declared", "cn"), ("plain", "cn"), ("x", "cn")]
    assert results[0].progress.message == "half way"
    assert (failed.status, failed.error_type) == ("failed", "ZeroDivisionError")


async def test_a_plugin_sees_a_day_of_virtual_time(
    gnomon_kernel: Callable[..., Kernel], gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    class Counter:
        count = 0

        @hookimpl
        def on_succeeded(self, event: Succeeded) -> None:
            self.count += 1

    async def body() -> None: ...

    counter = Counter()
    async with gnomon_kernel(
        Job(id="hourly", func=body, every=Duration(hours=1)), body, plugins=[counter], max_running=3
    ):
        await gnomon_clock.advance(timedelta(days=1))

    assert counter.count == len(gnomon_events.of(Succeeded, "hourly")) == 24
    assert gnomon_events.of(Succeeded, "body") == []
    assert gnomon_events.of(Scheduled)[0].scheduled_time == START + HOUR


async def test_a_second_kernel_in_a_test_continues_with_the_log(
    gnomon_kernel: Callable[..., Kernel], gnomon_events: EventList
) -> None:
    async def body() -> None: ...

    async with gnomon_kernel(body):
        pass
    async with gnomon_kernel(body) as kernel:
        await kernel.wait((await kernel.trigger("body")).execution.id)
        assert await check_store(kernel._store) == gnomon_events

    assert gnomon_events.types == ["job_added", "scheduled", "started", "succeeded"]


@pytest.fixture
def pytest_of_an_author(pytester: pytest.Pytester) -> pytest.Pytester:
    """Return a folder with a conftest that loads our fixtures, installed or not."""
    pytester.makeconftest((Path(__file__).parents[2] / "conftest.py").read_text())
    return pytester


def test_the_fixtures_need_no_plugin_for_async_tests(pytest_of_an_author: pytest.Pytester) -> None:
    pytester = pytest_of_an_author
    pytester.makepyfile(
        """
        import asyncio

        def test_without_async(gnomon_run_job, gnomon_kernel, gnomon_clock):
            async def body():
                return 42

            async def main():
                async with gnomon_kernel(body) as kernel:
                    triggered = await kernel.trigger("body")
                    await gnomon_clock.settle()
                    return await kernel.wait(triggered.execution.id)

            assert asyncio.run(gnomon_run_job(body)).return_value == 42
            assert asyncio.run(main()).status == "success"
        """
    )

    result = pytester.runpytest_subprocess("-p", "no:asyncio", "-p", "no:aiohttp")

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_the_fixtures_work_in_each_mode_of_pytest_asyncio(pytest_of_an_author: pytest.Pytester, mode: str) -> None:
    pytester = pytest_of_an_author
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_async(gnomon_run_job, gnomon_kernel, gnomon_clock, gnomon_events):
            async def body():
                return 42

            assert (await gnomon_run_job(body)).return_value == 42
            async with gnomon_kernel(body) as kernel:
                await kernel.trigger("body")
                await gnomon_clock.advance(60)
            assert gnomon_events.types[-1] == "succeeded"
        """
    )

    result = pytester.runpytest_subprocess("-o", f"asyncio_mode={mode}")

    result.assert_outcomes(passed=1)


def test_pytest_does_not_import_the_kernel_before_a_fixture_is_used(tmp_path: Path) -> None:
    script = "import gnomon.testing.pytest_plugin, sys; print(*sorted(m for m in sys.modules if 'gnomon' in m))"

    loaded = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert loaded.stdout.split() == ["gnomon", "gnomon.testing", "gnomon.testing.pytest_plugin"]


# --- the clock


async def test_time_passes_from_one_deadline_to_the_next(gnomon_clock: VirtualClock) -> None:
    seen: list[float] = []

    async def sleep(seconds: float) -> None:
        await gnomon_clock.sleep(seconds)
        seen.append(gnomon_clock.monotonic())
        if seconds == 2:
            await sleep(2.5)

    async with asyncio.TaskGroup() as tasks:
        for seconds in (3, 2, 10):
            tasks.create_task(sleep(seconds))
        await gnomon_clock.advance(5)
        assert seen == [2.0, 3.0, 4.5]
        await gnomon_clock.advance_to(START + timedelta(seconds=10))

    assert seen == [2.0, 3.0, 4.5, 10.0]
    assert gnomon_clock.now() == START + timedelta(seconds=10)


async def test_time_may_stop_exactly_when_a_job_is_due(
    gnomon_kernel: Callable[..., Kernel], gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    async def body() -> None: ...

    async with gnomon_kernel(make_job(body, every=Duration(seconds=43.469774))) as kernel:
        for _ in range(20):  # the sum of such steps and the wall clock are some nanoseconds apart
            next_fire = (await kernel.job("body")).next_fire
            assert next_fire is not None
            await gnomon_clock.advance_to(next_fire)

    assert len(gnomon_events.of(Succeeded)) == 20


async def test_time_advances_after_a_function_in_a_thread_has_ended(
    gnomon_kernel: Callable[..., Kernel], gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    def works() -> None:
        time.sleep(0.02)  # longer than a day takes

    async with gnomon_kernel(make_job(works, every=Duration(hours=1))):
        await gnomon_clock.advance(timedelta(days=1))

    assert len(gnomon_events.of(Succeeded)) == 24
    assert gnomon_events.of(events.Missed) == []


async def test_time_advances_although_a_function_in_a_thread_blocks(
    gnomon_kernel: Callable[..., Kernel],
    gnomon_clock: VirtualClock,
    gnomon_events: EventList,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gnomon.testing.kernels.THREAD_PATIENCE_S", 0.05)
    go_on = threading.Event()

    async with gnomon_kernel(make_job(lambda: go_on.wait(60), id="blocks")) as kernel:
        run = (await kernel.trigger("blocks")).execution.id
        await gnomon_clock.advance(timedelta(days=1))
        assert (await kernel.execution(run)).status == "running"
        go_on.set()
        await kernel.wait(run)

    assert len(gnomon_events.of(Succeeded)) == 1


async def test_a_wait_returns_though_the_clock_stands_still_or_health_would_call_it_a_standstill(
    gnomon_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.testing.clock.LONGEST_WAIT_S", 0.01)
    began = gnomon_clock.now()

    async with asyncio.timeout(60):
        await gnomon_clock.wait(asyncio.Event(), None)

    assert gnomon_clock.now() == began


async def test_until_waits_for_other_work_and_advances_in_steps(gnomon_clock: VirtualClock) -> None:
    done = threading.Event()
    began = gnomon_clock.now()

    async def work() -> None:
        await gnomon_clock.sleep(3.0)
        threading.Thread(target=done.set).start()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(work())
        await gnomon_clock.until(done.is_set, step=1.0)

    assert gnomon_clock.now() >= began + timedelta(seconds=3)


async def test_until_gives_up_on_a_condition_that_stays_false(
    gnomon_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.testing.clock.LIMIT_S", 0.01)

    with pytest.raises(TimeoutError, match=r"the condition is still false after 0\.01 s"):
        await gnomon_clock.until(lambda: False)


async def test_advance_gives_up_on_work_that_hangs(gnomon_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon.testing.clock.LIMIT_S", 0.05)
    gnomon_clock.is_idle = lambda: False

    with pytest.raises(TimeoutError, match="hang"):
        await gnomon_clock.advance(1)
