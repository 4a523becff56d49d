"""What is written when: of each run the latest, its end always, one write of it at a time. On a virtual clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gnomon import Event, Failed, Progress, Succeeded
from gnomon.domain import events
from gnomon.domain.execution import fold
from gnomon.testing import VirtualClock
from gnomon.testing.histories import NOON, extend, imported, numbered, running, scheduled
from gnomon_redis.connection import RedisServerError
from gnomon_redis.past_durations import PastDurations
from gnomon_redis.progress_record import ProgressRecord, decode
from gnomon_redis.progress_state import ProgressState, RecordWrite
from gnomon_redis.tracker import BATCH, LONGEST_PAUSE_S, Tracker

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


class SlowRedis:
    """Takes a second for each pipeline; keeps the value of each key, and the records of each run."""

    def __init__(self, clock: VirtualClock, seconds: float = 1.0) -> None:
        self.address = "nowhere"
        self.is_away = False
        self.closed = 0
        self.marker: bytes | None = None
        self.keys: dict[str, ProgressRecord] = {}
        self.told: list[ProgressRecord] = []
        self.pipelines: list[int] = []
        self.tries: list[float] = []
        self.under_way: Counter[str] = Counter()
        self._clock = clock
        self._seconds = seconds

    async def write(self, writes: Sequence[RecordWrite]) -> list[tuple[RecordWrite, str]]:
        self.tries.append(self._clock.monotonic())
        self.under_way.update(write.execution_id for write in writes)
        assert max(self.under_way.values(), default=0) <= 1
        try:
            await self._clock.sleep(self._seconds)
        finally:
            self.under_way.subtract(write.execution_id for write in writes)
        if self.is_away:
            raise RedisServerError("away", "Redis is away")
        if writes:
            self.pipelines.append(len(writes))
        for write in writes:
            record = decode(write.record)
            self.keys[write.execution_id] = record
            if write.is_new:
                self.told.append(record)
        return []

    async def swap_marker(self, log_id: str, value: bytes) -> bytes | None:
        if self.is_away:
            raise RedisServerError("away", "Redis is away")
        old, self.marker = self.marker, value
        return old

    async def close(self) -> None:
        self.closed += 1


class Scene:
    def __init__(self, seconds: float = 1.0, ended: int = 10_000) -> None:
        self.clock = VirtualClock(NOON)
        self.redis = SlowRedis(self.clock, seconds)
        self.progress = ProgressState(HOUR, MINUTE, PastDurations(), ended)
        self.tracker = Tracker(self.progress, self.redis, self.clock, MINUTE)
        self._position = 0

    def extend(self, history: list[Event], new: int = 1) -> list[Event]:
        """Deliver the last events of a history."""
        told = numbered(history[-new:], after=self._position)
        self._position = told[-1].position
        self.progress.apply(told)
        self.tracker.wake()
        return history

    @asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.tracker.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))


async def test_of_many_changes_while_a_write_is_under_way_only_the_last_is_written() -> None:
    scene = Scene()
    async with scene.going():
        run = scene.extend(running(), 2)
        await scene.clock.advance(0.1)
        for percent in range(1, 41):
            run = scene.extend(extend(run, Progress, percent=float(percent)))
            await scene.clock.advance(0.05)
        await scene.clock.advance(2)

    assert [record.percent for record in scene.redis.told] == [None, 18.0, 38.0, 40.0]
    assert scene.redis.keys[run[0].stream].version == 42


async def test_the_end_is_told_though_progress_came_right_before_it() -> None:
    scene = Scene()
    async with scene.going():
        run = scene.extend(running(), 2)
        await scene.clock.advance(0.5)
        run = scene.extend(extend(run, Progress, percent=90.0))
        run = scene.extend(extend(run, Failed, reason="exception", error_message="boom"))
        await scene.clock.advance(3)

    assert [record.status for record in scene.redis.told] == ["running", "failed"]
    assert scene.redis.told[-1].percent == 90.0


async def test_a_run_that_is_over_before_anything_was_written_is_told_once() -> None:
    scene = Scene()
    async with scene.going():
        scene.extend(extend(running(), Succeeded, execution_time=1.0), 3)
        await scene.clock.advance(100)

    assert [record.status for record in scene.redis.told] == ["success"]


async def test_writes_of_many_runs_go_out_together_and_none_is_passed_over() -> None:
    scene = Scene()
    runs = [running(f"job-{number}") for number in range(500)]
    async with scene.going():
        for run in runs:
            scene.extend(run, 2)
        await scene.clock.advance(5)

    assert scene.redis.pipelines == [BATCH, BATCH, 100]
    assert set(scene.redis.keys) == {run[0].stream for run in runs}


async def test_a_run_that_changes_all_the_time_does_not_keep_the_others_waiting() -> None:
    scene = Scene()
    hasty = [running(f"hasty-{number}") for number in range(BATCH)]
    async with scene.going():
        for run in hasty:
            scene.extend(run, 2)
        patient = scene.extend(running("patient"), 2)
        for _ in range(3):
            await scene.clock.advance(0.5)
            hasty = [scene.extend(extend(run, Progress, percent=1.0)) for run in hasty]
            await scene.clock.advance(0.5)

    assert patient[0].stream in scene.redis.keys


async def test_an_outage_costs_tries_that_become_rare_and_one_line_in_the_log() -> None:
    scene = Scene(seconds=0.01)
    with capture_logs() as logs:
        async with scene.going():
            run = scene.extend(running(), 2)
            await scene.clock.advance(1)
            scene.redis.is_away = True
            run = scene.extend(extend(run, Progress, percent=5.0))
            await scene.clock.advance(600)
            tries = [moment for moment in scene.redis.tries if moment > 1.5]
            problems = [scene.tracker.problem]
            run = scene.extend(extend(run, Progress, percent=6.0))
            ended = scene.extend(extend(running("other"), Succeeded, execution_time=1.0), 3)
            scene.redis.is_away = False
            await scene.clock.advance(LONGEST_PAUSE_S + 1)
            problems.append(scene.tracker.problem)

    assert problems == ["Redis is away", None]
    assert 100 < len(tries) < 350
    assert [line["event"] for line in logs] == [
        "progress cannot be written now",
        "progress is written again",
    ]
    assert scene.redis.keys[run[0].stream].percent == 6.0
    assert scene.redis.keys[ended[0].stream].is_over


async def test_after_an_outage_what_had_been_written_is_written_again_and_followers_are_told_only_news() -> None:
    scene = Scene(seconds=0.01)
    async with scene.going():
        alive = scene.extend(running("alive"), 2)
        ended = scene.extend(extend(running("ended"), Succeeded, execution_time=1.0), 3)
        await scene.clock.advance(1)
        told = len(scene.redis.told)
        scene.redis.keys.clear()
        scene.redis.is_away = True
        await scene.clock.advance(10)
        scene.redis.is_away = False
        await scene.clock.advance(LONGEST_PAUSE_S + 6)

    assert set(scene.redis.keys) == {alive[0].stream, ended[0].stream}
    assert len(scene.redis.told) == told


async def test_a_silent_run_is_renewed_and_shows_how_long_it_has_been_going() -> None:
    scene = Scene(seconds=0.01)
    async with scene.going():
        run = scene.extend(running(), 2)
        await scene.clock.advance(1)
        await scene.clock.advance(300)

    record = scene.redis.keys[run[0].stream]
    assert len(scene.redis.told) == 1
    assert record.elapsed == pytest.approx(300, abs=30)
    assert len(scene.redis.pipelines) == pytest.approx(300 / 20, abs=5)


async def test_in_a_long_outage_the_oldest_ends_are_dropped_and_counted() -> None:
    scene = Scene(seconds=0.01, ended=100)
    scene.redis.is_away = True
    with capture_logs() as logs:
        async with scene.going():
            for number in range(150):
                scene.extend(extend(running(f"job-{number}"), Succeeded, execution_time=1.0), 3)
            await scene.clock.advance(30)
            scene.redis.is_away = False
            await scene.clock.advance(LONGEST_PAUSE_S + 1)

    assert len(scene.redis.keys) == 100
    assert logs[-1]["dropped"] == 50


async def test_what_ended_longer_ago_than_the_ttl_is_not_written() -> None:
    scene = Scene(seconds=0.01)
    scene.redis.is_away = True
    async with scene.going():
        scene.extend(extend(running(), Succeeded, execution_time=1.0), 3)
        await scene.clock.advance(2 * HOUR)
        scene.redis.is_away = False
        await scene.clock.advance(LONGEST_PAUSE_S + 1)

    assert scene.redis.keys == {}
    assert not scene.progress.has_due


async def test_what_the_kernel_has_not_made_durable_yet_is_shown_to_nobody() -> None:
    scene = Scene(seconds=0.01)
    ahead = extend(extend(running(), Progress, percent=10.0), Progress, percent=20.0)
    async with scene.going():
        scene.extend(ahead[:3], 1)  # begun before this kernel, so it has to ask
        assert scene.progress.unknown_runs == {ahead[0].stream: 3}
        scene.progress.adopt(fold(ahead), scene.progress.unknown_runs[ahead[0].stream], scene.clock.now())
        scene.tracker.wake()
        await scene.clock.advance(10)
        assert scene.redis.keys == {}
        scene.extend(ahead, 1)
        await scene.clock.advance(1)

    assert scene.redis.keys[ahead[0].stream].percent == 20.0


async def test_a_late_result_changes_nothing() -> None:
    scene = Scene(seconds=0.01)
    async with scene.going():
        run = scene.extend(extend(running(), Failed, reason="zombie"), 3)
        await scene.clock.advance(1)
        scene.extend(extend(run, events.LateResult, outcome="succeeded"))
        await scene.clock.advance(1)

    assert scene.redis.pipelines == [1]


async def test_an_imported_run_is_history_and_not_told() -> None:
    scene = Scene(seconds=0.01)
    async with scene.going():
        scene.extend(imported())
        await scene.clock.advance(1)

    assert scene.redis.pipelines == []
    assert scene.progress.unknown_runs == {}


async def test_a_view_that_is_adopted_stays_as_it_was_for_its_owner() -> None:
    scene = Scene()
    state = fold(running(kwargs={"market": "cn"}))

    scene.progress.adopt(state, state.version, scene.clock.now())
    scene.extend(extend(running(kwargs={"market": "cn"}), Progress, percent=5.0))

    assert (state.kwargs, state.progress.percent) == ({"market": "cn"}, None)


async def test_leaving_writes_what_is_left_and_gives_up_in_time_where_redis_is_away() -> None:
    scene = Scene(seconds=0.0)
    scene.extend(extend(running(), Succeeded, execution_time=1.0), 3)
    finishing = asyncio.create_task(scene.tracker.finish(5))
    await scene.clock.advance(1)
    await finishing
    assert [record.status for record in scene.redis.told] == ["success"]
    scene.redis.is_away = True
    scene.extend(extend(running("late"), Succeeded, execution_time=1.0), 3)
    finishing = asyncio.create_task(scene.tracker.finish(5))
    with capture_logs() as logs:
        await scene.clock.advance(1)
        await finishing
    assert logs[-1]["event"] == "progress was not written"
    assert scene.redis.closed == 2


STEP = st.sampled_from(["new", "progress", "end", "wait", "away", "back"])


@settings(max_examples=60)
@given(steps=st.lists(st.tuples(STEP, st.integers(0, 4)), max_size=60))
def test_whatever_happens_in_the_end_every_key_is_the_fold(steps: list[tuple[str, int]]) -> None:
    async def live() -> None:
        scene = Scene(seconds=0.3)
        runs: dict[int, list[Event]] = {}
        done: list[list[Event]] = []
        async with scene.going():
            for number, (step, which) in enumerate(steps):
                run = runs.get(which)
                if step == "new" and run is None:
                    runs[which] = scene.extend(scheduled(f"job-{number}"))
                elif step == "progress" and run is not None:
                    new = events.Started if len(run) == 1 else Progress
                    told: dict[str, Any] = {"runner": "async"} if len(run) == 1 else {"percent": float(number)}
                    runs[which] = scene.extend(extend(run, new, **told))
                elif step == "end" and run is not None:
                    done.append(scene.extend(extend(run, Failed, reason="lost")))
                    del runs[which]
                elif step == "wait":
                    await scene.clock.advance(0.2 * which)
                elif step in {"away", "back"}:
                    scene.redis.is_away = step == "away"
            scene.redis.is_away = False
            await scene.clock.advance(30)
        for history in (*runs.values(), *done):
            expected, found = fold(history), scene.redis.keys[history[0].stream]
            assert (found.version, found.status) == (expected.version, expected.status)
            assert found.percent == expected.progress.percent
        over = [record.execution_id for record in scene.redis.told if record.is_over]
        assert sorted(set(over)) == sorted(history[0].stream for history in done)
        assert scene.progress.written_position == scene.progress.position

    asyncio.run(live())


OWN = {"declared", "number"}
"""Fields of the view that only the kernel needs."""


async def test_a_record_holds_what_the_fold_holds() -> None:
    scene = Scene(seconds=0.01)
    run = extend(running(kwargs={"market": "cn"}), Progress, steps=[events.DeclaredStep("a"), events.DeclaredStep("b")])
    run = extend(run, Progress, step="b", message="half", processed_items=1, total_items=2, current_item="x")
    async with scene.going():
        scene.extend(run, len(run))
        await scene.clock.advance(1)

    record, state = scene.redis.keys[run[0].stream], fold(run)
    view = msgspec.structs.asdict(state.progress)
    assert {name: getattr(record, name) for name in view if name not in OWN} == {
        name: value for name, value in view.items() if name not in OWN
    }
