"""Jobs that move between runners while they run: no fire is lost or doubled, and limits count over both."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from gnomon import Job, Kernel
from gnomon.analysis.audit import audit
from gnomon.domain import events
from gnomon.testing import EventList, VirtualClock
from remote_bodies import Held, OneLog
from remote_bodies import held as bodies_here

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HERE, ELSEWHERE = "async", "elsewhere"


def job_in(runner: str, **keys: Any) -> Job:
    return Job(**{"id": "job", "func": "remote_bodies:hold", "runner": runner, **keys})


@pytest.fixture
def log(gnomon_clock: VirtualClock, gnomon_events: EventList) -> OneLog:
    return OneLog(gnomon_clock, gnomon_events)


@pytest.fixture
def here() -> Held:
    bodies_here.runs.clear()
    bodies_here.began.clear()
    return bodies_here


class Moves:
    """A job that is moved by reloads, with the bodies of both sides."""

    def __init__(self, log: OneLog, here: Held, **keys: Any) -> None:
        self.log, self.here, self.keys = log, here, keys

    def kernel(self, runner: str, **settings: Any) -> Kernel:
        return self.log.kernel(job_in(runner, **self.keys), **settings)

    async def move(self, kernel: Kernel, runner: str, **keys: Any) -> None:
        self.keys |= keys
        await kernel.apply_jobs([job_in(runner, **self.keys)])

    def running(self) -> dict[str, str]:
        """Return the runs whose bodies run or wait elsewhere, and where."""
        there = {run for run in self.log.there.runs if run not in self.log.there.ends}
        return dict.fromkeys(self.here.runs, HERE) | dict.fromkeys(there, ELSEWHERE)

    async def runs(self, count: int, where: str) -> list[str]:
        """Wait until so many runs are there, and return all."""
        await self.log.until(lambda: list(self.running().values()).count(where) == count)
        return [run for run, place in self.running().items() if place == where]

    def end(self, run: str, error: Exception | None = None) -> None:
        if run in self.here.runs:
            self.here.end(run, error)
            return
        if run not in self.log.there.claims:
            self.log.there.begin(run, self.log.clock.now())
        failed = {"error_type": type(error).__name__, "error_message": str(error)} if error is not None else {}
        self.log.there.end(run, ELSEWHERE, **failed)


@pytest.mark.parametrize(("first", "second"), [(HERE, ELSEWHERE), (ELSEWHERE, HERE)])
async def test_a_run_stays_where_it_is_and_blocks_the_next_one_as_before(
    first: str, second: str, log: OneLog, here: Held, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    moves = Moves(log, here, every=MINUTE)
    async with moves.kernel(first) as kernel:
        await gnomon_clock.advance(MINUTE)
        (run,) = await moves.runs(1, first)
        await moves.move(kernel, second)
        await gnomon_clock.advance(MINUTE)
        assert moves.running() == {run: first}
        moves.end(run)
        assert (await kernel.wait(run)).runner == first
        await gnomon_clock.advance(MINUTE)
        (last,) = await moves.runs(1, second)
        moves.end(last)
        assert (await kernel.wait(last)).runner == second
    (missed,) = gnomon_events.of(events.Missed)
    assert (missed.reason, missed.blocked_by) == ("overlap", run)


@pytest.mark.parametrize(("first", "second"), [(HERE, ELSEWHERE), (ELSEWHERE, HERE)])
async def test_what_waits_in_line_runs_where_the_job_is_by_then(
    first: str, second: str, log: OneLog, here: Held, gnomon_clock: VirtualClock
) -> None:
    moves = Moves(log, here, every=MINUTE, overlap="queue", catch_up="all")
    async with moves.kernel(first) as kernel:
        await gnomon_clock.advance(3 * MINUTE)
        (run,) = await moves.runs(1, first)
        await moves.move(kernel, second, every=timedelta(days=1))
        for _ in range(2):
            moves.end(run)
            await kernel.wait(run)
            (run,) = await moves.runs(1, second)
        moves.end(run)
        assert (await kernel.wait(run)).runner == second


@pytest.mark.parametrize("how", ["reload", "change"])
async def test_a_move_with_more_instances_starts_what_waits_at_once(
    how: str, log: OneLog, here: Held, gnomon_clock: VirtualClock
) -> None:
    moves = Moves(log, here, overlap="queue", max_instances=1)
    jobs = [job_in(HERE, **moves.keys)] if how == "reload" else []
    async with log.kernel(*jobs) as kernel:
        if how == "change":
            await kernel.add_job(job_in(HERE, **moves.keys))
        for _ in range(6):
            await log.triggered(kernel)
        await moves.runs(1, HERE)
        if how == "reload":
            await moves.move(kernel, ELSEWHERE, max_instances=4)
        else:
            await kernel.change_job("job", runner=ELSEWHERE, max_instances=4)
        await moves.runs(3, ELSEWHERE)
        assert len(moves.running()) == 4


async def test_a_move_with_fewer_instances_starts_nothing_until_there_is_room(
    log: OneLog, here: Held, gnomon_clock: VirtualClock
) -> None:
    moves = Moves(log, here, overlap="queue", max_instances=3)
    async with moves.kernel(ELSEWHERE) as kernel:
        runs = [await log.triggered(kernel) for _ in range(5)]
        await moves.runs(3, ELSEWHERE)
        await moves.move(kernel, HERE, max_instances=1)
        for run in runs[:2]:
            moves.end(run)
            await kernel.wait(run)
            await gnomon_clock.settle()
            assert HERE not in moves.running().values()
        moves.end(runs[2])
        await moves.runs(1, HERE)
        assert moves.running() == {runs[3]: HERE}


async def test_a_retry_waits_out_its_delay_and_runs_where_the_job_is_by_then(
    log: OneLog, here: Held, gnomon_clock: VirtualClock
) -> None:
    moves = Moves(log, here, retry={"attempts": 3, "delay": MINUTE, "backoff": 1})
    async with moves.kernel(HERE) as kernel:
        first = await log.triggered(kernel)
        await moves.runs(1, HERE)
        moves.end(first, ValueError("no"))
        await kernel.wait(first)
        await moves.move(kernel, ELSEWHERE)
        await gnomon_clock.advance(MINUTE)
        (second,) = await moves.runs(1, ELSEWHERE)
        moves.end(second, ValueError("no"))
        await kernel.wait(second)
        await moves.move(kernel, HERE)
        await gnomon_clock.advance(MINUTE)
        (third,) = await moves.runs(1, HERE)
        moves.end(third, ValueError("no"))
        ended = await kernel.wait(third)
        await gnomon_clock.advance(10 * MINUTE)
        assert moves.running() == {}
    assert (ended.attempt, ended.status) == (3, "failed")


async def test_what_waits_elsewhere_for_a_job_that_moved_here_can_be_sent_again_by_the_next_kernel(log: OneLog) -> None:
    run = await log.left(job_in(ELSEWHERE))
    async with log.kernel(job_in(HERE)) as kernel:
        await log.until(lambda: run in log.there.runs)
        assert log.there.runs[run].body.child_target == "remote_bodies:hold"
        log.there.begin(run, log.clock.now())
        log.there.end(run)
        assert (await kernel.wait(run)).runner == ELSEWHERE


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_moves_every_fire_has_one_outcome_and_limits_hold(
    seed: int, log: OneLog, here: Held, gnomon_clock: VirtualClock, gnomon_events: EventList
) -> None:
    chance = random.Random(seed)
    moves = Moves(log, here, every=MINUTE, catch_up="all", retry={"attempts": 2, "delay": 30 * SECOND})
    moves.keys |= {"overlap": chance.choice(("skip", "queue", "allow")), "max_instances": chance.choice((1, 2))}
    start = gnomon_clock.now()
    async with moves.kernel(runner := chance.choice((HERE, ELSEWHERE))) as kernel:
        for _ in range(60):
            step = chance.random()
            if step < 0.2:
                runner = HERE if runner == ELSEWHERE else ELSEWHERE
                await moves.move(kernel, runner)
            elif step < 0.5 and (running := sorted(moves.running())):
                moves.end(chance.choice(running), ValueError("no") if chance.random() < 0.3 else None)
                await gnomon_clock.settle()
            elif step < 0.6 and (waiting := sorted(log.there.runs.keys() - log.there.claims.keys())):
                log.there.begin(chance.choice(waiting), gnomon_clock.now())
            else:
                await gnomon_clock.advance(chance.choice((10, 45, 90)) * SECOND)
            assert len(moves.running()) <= moves.keys["max_instances"]
        await kernel.hold(actor="test")
        fires = int((gnomon_clock.now() - start) / MINUTE)
        while moves.running() or kernel.health().waiting:
            for run in sorted(moves.running()):
                moves.end(run)
            await gnomon_clock.advance(30 * SECOND)
        report = await audit(log.store, start, gnomon_clock.now())
        assert report.is_proved, report
    begun = Counter([*here.began, *(event.stream for event in gnomon_events.of(events.HandedOver))])
    assert set(begun.values()) <= {1}
    first = [event for event in gnomon_events.of(events.Scheduled) if event.attempt == 1]
    decided = [event.scheduled_time for event in first]
    missed = [event for event in gnomon_events.of(events.Missed) if event.version == 1]
    assert len(decided) == len(set(decided))
    assert len(decided) + sum(event.count for event in missed) == fires
