"""Pauses of the kernel's process: noticed, named in health and in missed fires, not confused with a busy process."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon import Duration, KernelHeldUp, Missed
from gnomon.analysis.explain import explain
from gnomon.clock import SystemClock
from gnomon.engine import pauses
from gnomon.engine.pauses import PauseDetector
from gnomon.jobs.job import Job
from gnomon.testing import RecordingStore, VirtualClock, make_kernel
from gnomon.testing.clock import START

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()


PAUSED = (
    "did not run for 1 m 15 s until 2026-01-01 12:01:15 UTC: it was stopped (SIGSTOP), suspended, or got no CPU time"
)


class Moving:
    """Stands in for the module time."""

    def __init__(self, wall: float = NOON) -> None:
        self.passed = self.used = 0.0
        self.wall = wall

    def monotonic(self) -> float:
        return self.passed

    def process_time(self) -> float:
        return self.used

    def time(self) -> float:
        return self.wall + self.passed


@pytest.fixture
def moving(monkeypatch: pytest.MonkeyPatch) -> Moving:
    moving = Moving()
    monkeypatch.setattr(pauses, "time", moving)
    return moving


def test_a_process_that_did_not_run_was_paused(moving: Moving) -> None:
    detector = PauseDetector()
    detector.look()
    told = [detector.problem]

    moving.passed = 75.0
    with capture_logs() as logs:
        detector.look()
        detector.look()
    told.append(detector.problem)
    moving.passed = 200.0
    told.append(detector.problem)

    assert [line["seconds"] for line in logs] == [75.0]
    assert told == [None, f"the process of the kernel {PAUSED}", None]


@pytest.mark.parametrize(("passed", "used"), [(4.9, 0.0), (60.0, 40.0)], ids=["short", "busy"])
def test_a_busy_process_was_not_paused(moving: Moving, passed: float, used: float) -> None:
    detector = PauseDetector()

    moving.passed, moving.used = passed, used
    detector.look()

    assert detector.problem is None


def test_the_first_that_asks_notices_the_pause(moving: Moving) -> None:
    detector = PauseDetector()

    moving.passed = 10.0
    pause = detector.since(NOON + 5)

    assert pause is not None
    assert pause.seconds == 10.0
    assert detector.since(NOON + 11) is None


async def quick() -> None: ...


async def test_a_fire_that_was_missed_because_of_a_pause_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, store = VirtualClock(), RecordingStore()
    job = Job(id="job", func=quick, every=Duration(minutes=1), grace=Duration(seconds=10))
    settings: dict[str, Any] = {"clock": clock, "store": store, "blocked_loop_after": Duration(minutes=5)}
    async with make_kernel(job, **settings) as kernel:
        moving = Moving(START.timestamp())
        watchdog = kernel._leader._watchdog
        assert watchdog is not None
        monkeypatch.setattr(pauses, "time", moving)
        watchdog.pauses.restart()

        moving.passed = 90.0
        await clock.stall(90)
        health = kernel.health()

    (missed,) = store.recorded.of(Missed)
    assert missed.detail == str(watchdog.pauses._last)
    assert health.state == "degraded"
    assert health.problems["pause"].startswith("the process of the kernel did not run for 1 m 30 s until ")


async def test_a_fire_that_ran_late_because_of_a_pause_is_explained_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, store = VirtualClock(), RecordingStore()
    job = Job(id="job", func=quick, every=Duration(minutes=1))
    settings: dict[str, Any] = {"clock": clock, "store": store, "blocked_loop_after": Duration(minutes=5)}
    async with make_kernel(job, **settings) as kernel:
        moving = Moving(START.timestamp())
        watchdog = kernel._leader._watchdog
        assert watchdog is not None
        monkeypatch.setattr(pauses, "time", moving)
        watchdog.pauses.restart()

        moving.passed = 90.0
        await clock.stall(90)
        watchdog.pauses.look()
        await clock.until(lambda: bool(store.recorded.of(KernelHeldUp)))
        explanation = await explain(store, "job", START + timedelta(minutes=1), clock.now())

    (fact,) = store.recorded.of(KernelHeldUp)
    assert (fact.kind, fact.seconds, fact.held_by) == ("paused", 90.0, None)
    said = " ".join(explanation.fires[0].sentences)
    assert "until 2026-01-01 00:01:30 UTC: the process of the kernel did not run for 1 m 30 s" in said


async def test_the_watchdog_looks_for_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = make_kernel(Job(id="job", func=quick), clock=SystemClock(), blocked_loop_after=Duration(seconds=1))
    async with kernel:
        moving = Moving()
        watchdog = kernel._leader._watchdog
        assert watchdog is not None
        monkeypatch.setattr(pauses, "time", moving)
        watchdog.pauses.restart()
        moving.passed = 30.0
        await VirtualClock().until(lambda: "pause" in kernel.health().problems)
