"""What is different about two runs: arguments, definition, place, steps, logs, and what was done between them."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon import Context, Duration, Job, Kernel, LogLine
from gnomon.analysis.log_difference import compare_logs
from gnomon.analysis.run_difference import compare_run
from gnomon.domain.run_difference import ChangedValue, RunDifference
from gnomon.errors import JobError, UnknownExecutionError
from gnomon.testing import VirtualClock
from gnomon.testing.clock import START
from gnomon_sqlite import SqliteStore

HOUR = timedelta(hours=1)


async def sync(ctx: Context, market: str = "cn", rows: int = 10) -> None:
    """Log, take two steps, and fail where the market is closed."""
    log = logging.getLogger("app")
    ctx.step("fetch")
    log.warning("fetched %d rows of %s at %s", rows, market, "2026-01-01T03:04:05")
    ctx.step("store")
    if market == "us":
        log.error("the market is closed")
        raise ValueError("closed")
    log.warning("stored %d rows", rows)


def job(**keys: Any) -> Job:
    schedule = {"cron": "0 * * * *"} if "every" not in keys else {}
    return Job(id="sync", func=sync, **schedule, **keys)  # type: ignore[arg-type]


class World:
    """A log in a file, and one kernel after the other on it."""

    def __init__(self, path: Path) -> None:
        self.clock = VirtualClock(START)
        self.store = SqliteStore(path / "log.db")

    def kernel(self, *jobs: Job, **settings: Any) -> Kernel:
        kernel = Kernel(store=self.store, jobs=jobs, clock=self.clock, drain=timedelta(), **settings)
        self.clock.is_idle = lambda: kernel.is_idle
        return kernel


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def run(kernel: Kernel, clock: VirtualClock, **kwargs: Any) -> str:
    """Run the job once, and return the id of its run."""
    triggered = await kernel.trigger("sync", kwargs=kwargs, actor="ann")
    await kernel.wait(triggered.execution.id)
    await clock.advance(timedelta(minutes=1))
    return triggered.execution.id


def changes(found: list[ChangedValue]) -> dict[str, tuple[Any, Any]]:
    return {one.name: (one.other, one.value) for one in found}


async def test_a_failed_run_is_compared_with_the_last_success_before_it(world: World) -> None:
    async with world.kernel(job(), node="a") as kernel:
        await run(kernel, world.clock)
        good = await run(kernel, world.clock, rows=12)
    async with world.kernel(job(timeout=Duration(minutes=5), every=Duration(hours=2)), node="b") as kernel:
        await kernel.pause("sync", actor="ben", reason="moving")
        await kernel.resume("sync", actor="ben")
        bad = await run(kernel, world.clock, market="us")
        later = await run(kernel, world.clock)
        other = await kernel.compare_run(later)
        found = await kernel.compare_run(bad)

    assert (found.run.id, found.run.status) == (bad, "failed")
    assert found.other is not None
    assert (found.other.id, found.other.status) == (good, "success")
    assert changes(found.arguments) == {"market": (None, "us"), "rows": (12, None)}
    assert changes(found.definition) == {
        "cron": ("0 * * * *", None),
        "every": (None, "2h"),
        "timeout": (None, "5m"),
    }
    assert changes(found.place)["node"] == ("a", "b")
    assert changes(found.place)["deployment"] == (1, 2)
    assert "worker" not in changes(found.place)
    assert other.other is not None
    assert other.other.id == good


async def test_what_was_done_between_names_who_did_it_and_which_keys_changed(world: World) -> None:
    async with world.kernel(node="a") as kernel:
        await kernel.add_job(f"{__name__}:sync", id="sync", cron="0 * * * *", actor="ann")
        await run(kernel, world.clock)
        await kernel.change_job("sync", timeout=Duration(minutes=5), actor="ben", reason="it hung")
        await kernel.hold(actor="cat", reason="maintenance")
        await kernel.release(actor="cat")
        bad = await run(kernel, world.clock, market="us")
        await kernel.pause("sync", actor="ann")  # later, and so nothing that could have changed the run
        found = await kernel.compare_run(bad)

    facts = [(fact.what, fact.actor, fact.detail, fact.keys) for fact in found.between]
    assert facts == [
        ("change", "ben", "it hung", ["timeout"]),
        ("kernel_held", "cat", "maintenance", []),
        ("kernel_released", "cat", "a", []),
        ("trigger", "ann", None, []),
    ]
    assert found.between_total == 4
    assert [fact.execution_id for fact in found.between if fact.what == "trigger"] == [bad]


async def test_the_steps_are_those_of_the_events(world: World) -> None:
    async with world.kernel(job()) as kernel:
        good = await run(kernel, world.clock)
        bad = await run(kernel, world.clock, market="us")
        found = await kernel.compare_run(bad)
        streams = {one: await kernel.history(one) for one in (good, bad)}

    assert [(step.name, step.other_status, step.status) for step in found.steps] == [
        ("fetch", "completed", "completed"),
        ("store", "completed", "failed"),
    ]
    entered = {
        one: {event.step: event.at for event in stream if event.type == "progress"}  # type: ignore[attr-defined]
        for one, stream in streams.items()
    }
    begun = {one: next(event.at for event in stream if event.type == "started") for one, stream in streams.items()}
    for step in found.steps:
        assert step.start_s == (entered[bad][step.name] - begun[bad]).total_seconds()
        assert step.other_start_s == (entered[good][step.name] - begun[good]).total_seconds()


async def test_logs_differ_from_the_first_line_that_says_something_else(world: World) -> None:
    async with world.kernel(job()) as kernel:
        await run(kernel, world.clock, rows=10)
        bad = await run(kernel, world.clock, market="us", rows=731)
        same = await run(kernel, world.clock, rows=99)
        failed, equal = await kernel.compare_run(bad), await kernel.compare_run(same)

    assert failed.log is not None
    assert failed.log.same == 0  # the market is not a number
    assert failed.log.line is not None
    assert "fetched 731 rows of us" in failed.log.line.text
    assert failed.log.new[0].text == "the market is closed"
    assert equal.log is not None
    assert (equal.log.same, equal.log.line, equal.log.other, equal.log.new_total) == (2, None, None, 0)


async def test_a_run_without_an_earlier_success_has_nothing_to_be_compared_with(world: World) -> None:
    async with world.kernel(job()) as kernel:
        bad = await run(kernel, world.clock, market="us")
        found = await kernel.compare_run(bad)

    assert found == RunDifference(run=found.run, other=None)


async def test_runs_of_two_jobs_and_unknown_runs_are_refused(world: World) -> None:
    async with world.kernel(job(), Job(id="other", func=sync)) as kernel:
        one = await run(kernel, world.clock)
        other = (await kernel.trigger("other")).execution.id
        with pytest.raises(JobError, match="compare two runs of one job"):
            await kernel.compare_run(one, other)
        for ids in [("0" * 24, None), (one, "0" * 24)]:
            with pytest.raises(UnknownExecutionError):
                await kernel.compare_run(*ids)


async def test_a_follower_gives_the_same_answer(world: World, tmp_path: Path) -> None:
    async with world.kernel(job()) as kernel:
        await run(kernel, world.clock)
        bad = await run(kernel, world.clock, market="us")
        found = await kernel.compare_run(bad)
        async with Kernel(store=SqliteStore(tmp_path / "log.db"), role="follower", clock=world.clock) as follower:
            assert await follower.compare_run(bad) == found
            assert (await follower.explain_run(bad)).sentences == (await kernel.explain_run(bad)).sentences


async def test_a_log_without_a_kernel_gives_it_too(world: World) -> None:
    async with world.kernel(job()) as kernel:
        await run(kernel, world.clock)
        bad = await run(kernel, world.clock, market="us")
        found = await kernel.compare_run(bad)

    await world.store.open(read_only=True)
    try:
        assert await compare_run(world.store, bad) == found
    finally:
        await world.store.close()


def lines(*texts: str, first: int = 1, level: str = "info") -> list[LogLine]:
    return [LogLine(number=first + n, at=START, level=level, text=text) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("took 3.2 s", "took 14 s"),
        ("2026-01-01 03:04:05,123 begin", "2026-11-29T17:00:00.5+08:00 begin"),
        ("at 03:04 rows=1,234", "at 23:59 rows=7"),
        ("id 6b04de0cd889447883250fbd", "id 6b04de0cd889447883250fbe"),
        ("job 123e4567-e89b-12d3-a456-426614174000", "job 00000000-e89b-12d3-a456-426614174000"),
        ("<Task at 0x7f2a>", "<Task at 0x55c0de>"),
    ],
)
def test_times_numbers_and_ids_are_no_difference(one: str, other: str) -> None:
    found = compare_logs(lines(one), lines(other))

    assert found is not None
    assert (found.same, found.line, found.other, found.new) == (1, None, None, [])


@pytest.mark.parametrize(("one", "other"), [("use utf8", "use utf16"), ("table a1", "table b1"), ("on cn", "on us")])
def test_words_are_a_difference_also_those_with_a_digit(one: str, other: str) -> None:
    found = compare_logs(lines(one), lines(other))

    assert found is not None
    assert found.same == 0


def test_a_log_that_ends_earlier_differs_where_it_ends_and_levels_count() -> None:
    shorter = compare_logs(lines("a"), lines("a", "b"))
    graver = compare_logs(lines("a", level="error"), lines("a"))

    assert shorter is not None
    assert (shorter.same, shorter.line, shorter.other and shorter.other.text) == (1, None, "b")
    assert graver is not None
    assert (graver.same, graver.new_total) == (0, 1)


def test_of_a_log_that_was_cut_the_kept_lines_are_compared_by_number() -> None:
    found = compare_logs(lines("c", "x", first=3), lines("a", "b", "c", "d"))

    assert found is not None
    assert (found.first_kept, found.other_first_kept, found.same) == (3, 1, 1)
    assert (found.line and found.line.number, found.other and found.other.number) == (4, 4)
    assert compare_logs([], []) is None


async def test_a_kernel_of_the_past_explains_with_what_was_known_then(world: World) -> None:
    async with world.kernel(job()) as kernel:
        good = await run(kernel, world.clock)
        bad = await run(kernel, world.clock, market="us")
        then = world.clock.now()
        await world.clock.advance(HOUR)
        await kernel.hide(good, actor="ann")
        past = await kernel.at(then)

        others = [(await of.compare_run(bad)).other for of in (past, kernel)]
        assert [(other.id, other.hidden) for other in others if other is not None] == [(good, False), (good, True)]
        assert (await past.explain_run(bad)).sentences == (await kernel.explain_run(bad)).sentences
        assert [act.what for act in await past.job_changes("sync")] == ["add"]
        assert (await past.explain("sync")).sentences[0] == "sync has not had a fire yet."
        assert (await kernel.explain("sync")).sentences[0] != "sync has not had a fire yet."
