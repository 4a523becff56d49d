"""What `explain` tells of kernels that are late, paused, away, busy or refused; and of the nights of clock changes."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from apscheduler.triggers.interval import IntervalTrigger

from gnomon.analysis.explain import explain, explain_run
from gnomon.domain import events
from gnomon.durations import Duration
from gnomon.errors import UnknownExecutionError, UnknownJobError
from gnomon.explanations import Explanation
from gnomon.hookspecs import hookimpl
from gnomon.jobs.job import Job, Retry
from gnomon.kernel import Kernel
from gnomon.plugins.plugin_set import PluginSet
from gnomon.stores.memory import MemoryStore
from gnomon.testing.clock import START, VirtualClock
from gnomon.testing.histories import (
    append,
    cancelled,
    extend,
    failed,
    imported,
    job_added,
    missed,
    running,
    scheduled,
    succeeded,
)

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NEW_YEAR = "2026-01-01 "


async def nothing() -> None:
    pass


def job(id: str = "sync", **keys: Any) -> Job:
    keys = {"cron": "*/10 * * * *"} | keys if not {"every", "at", "trigger"} & set(keys) else keys
    return Job(id=id, func=keys.pop("func", nothing), **keys)


class World:
    """A log, a clock, and one kernel after the other."""

    def __init__(self, start: datetime = START) -> None:
        self.clock = VirtualClock(start)
        self.store = MemoryStore()

    def kernel(self, *jobs: Job, **settings: Any) -> Kernel:
        kernel = Kernel(store=self.store, jobs=jobs, clock=self.clock, node="a", drain=timedelta(), **settings)
        self.clock.is_idle = lambda: kernel.is_idle
        return kernel

    async def serve(self, *jobs: Job, during: timedelta = HOUR, **settings: Any) -> None:
        async with self.kernel(*jobs, **settings):
            await self.clock.advance(during)

    async def tells(self, *histories: list[events.Event]) -> None:
        await self.store.open()
        await append(self.store, *histories)

    async def explain(self, moment: datetime | date | None = None, job_id: str = "sync") -> Explanation:
        await self.store.open(read_only=True)
        return await explain(self.store, job_id, moment, self.clock.now())


@pytest.fixture
def world() -> World:
    return World()


def said(found: Explanation) -> str:
    return " ".join(found.sentences).replace(NEW_YEAR, "")


class TestFiresThatRan:
    async def test_one_on_time_is_told_with_its_end(self, world: World) -> None:
        await world.serve(job())

        found = await world.explain(START + 20 * MINUTE)

        assert said(found).startswith("sync was due at 00:20 UTC. It ran on time: it started at 00:20 UTC (run ")
        assert "It succeeded" in said(found)
        assert [story.fate for story in found.fires] == ["success"]

    async def test_one_that_a_pause_made_late_is_told_with_who_paused_it_and_why(self, world: World) -> None:
        async with world.kernel(job()) as kernel:
            await world.clock.advance(15 * MINUTE)
            await kernel.pause("sync", actor="ann", reason="holidays")
            await world.clock.advance(20 * MINUTE)
            await kernel.resume("sync")
            await world.clock.advance(HOUR)

        late, lost = await world.explain(START + 30 * MINUTE), await world.explain(START + 20 * MINUTE)

        assert "It ran late, by 5 m 00 s: it started at 00:35 UTC" in said(late)
        assert "The job was paused when it was due, from 00:15 UTC to 00:35 UTC by ann (holidays)." in said(late)
        assert "It did not run: it was missed (paused)" in said(lost)
        assert "The job was paused, from 00:15 UTC to 00:35 UTC by ann (holidays)." in said(lost)
        assert lost.fires[0].pause is not None
        assert lost.fires[0].pause.by == "ann"

    async def test_one_that_was_past_when_it_was_added_is_told_so(self, world: World) -> None:
        await world.clock.advance(HOUR)
        await world.serve(job(at=START + 30 * MINUTE))

        found = await world.explain(START + 30 * MINUTE)

        assert "sync was due at 00:30 UTC, but that was added at 01:00 UTC. It ran late, by 30 m 00 s" in said(found)

    async def test_one_that_waited_for_the_run_before_is_told_with_that_run(self, world: World) -> None:
        async def slow() -> None:
            await world.clock.sleep(900)

        await world.serve(job(func=slow, overlap="queue"))

        found = await world.explain(START + 20 * MINUTE)

        assert "It ran late, by 5 m 00 s" in said(found)
        assert "It waited 5 m 00 s for another run of the job to end." in said(found)
        assert "which started at 00:10 UTC, and ended at 00:25 UTC (success)" in said(found)
        assert [run.job_id for run in found.fires[0].behind] == ["sync"]

    async def test_one_that_waited_for_a_slot_names_the_run_that_had_it(self, world: World) -> None:
        async def slow() -> None:
            await world.clock.sleep(900)

        await world.serve(job("hog", func=slow, at=START + 15 * MINUTE), job(), max_running=1)

        found = await world.explain(START + 20 * MINUTE)

        assert "It waited 10 m 00 s for a slot: max_running runs were active." in said(found)
        assert found.fires[0].behind[0].job_id == "hog"

    async def test_one_that_failed_is_told_with_each_attempt(self, world: World) -> None:
        async def fail() -> None:
            raise ValueError("no such table: prices")

        await world.serve(job(func=fail, retry=Retry(attempts=2, delay=Duration(seconds=30))))

        found = await world.explain(START + 10 * MINUTE)

        assert said(found).count("(exception): ValueError: no such table: prices.") == 2
        assert "It was retried: attempt 2 is run" in said(found)
        assert "it started at 00:10:30 UTC" in said(found)
        assert "It was not tried again: that was the last of its 2 attempts." in said(found)
        assert len(found.fires[0].executions) == 2

    async def test_one_that_was_cancelled_is_told_with_who_wanted_it(self, world: World) -> None:
        await world.tells(job_added(at=START, cron="0 * * * *"), cancelled(at=START + HOUR))
        world.clock = VirtualClock(START + 2 * HOUR)

        found = await world.explain(START + HOUR)

        assert "It was cancelled after 2.0 s by ann: not today." in said(found)

    async def test_one_that_is_still_running_or_waiting_is_told_so(self, world: World) -> None:
        await world.tells(
            job_added(at=START, cron="0 * * * *"), running(at=START + HOUR), scheduled(at=START + 2 * HOUR)
        )
        world.clock = VirtualClock(START + 150 * MINUTE)

        going, waiting = await world.explain(START + HOUR), await world.explain(START + 2 * HOUR)

        assert "It is still running." in said(going)
        assert "has not started yet" in said(waiting)
        assert "It is waiting for run " in said(waiting)
        assert " of this job, which started at 01:00:01 UTC and is still running." in said(waiting)

    async def test_a_late_result_is_mentioned(self, world: World) -> None:
        late = extend(failed(at=START + HOUR), events.LateResult, outcome="succeeded", after=5 * MINUTE)
        await world.tells(job_added(at=START, cron="0 * * * *"), late)
        world.clock = VirtualClock(START + 2 * HOUR)

        assert "reported 'succeeded' at 01:05:02 UTC: that does not count" in said(await world.explain(START + HOUR))


class TestFiresThatDidNotRun:
    async def test_one_that_overlapped_is_told_with_the_run_before(self, world: World) -> None:
        async def slow() -> None:
            await world.clock.sleep(900)

        await world.serve(job(func=slow))

        found = await world.explain(START + 20 * MINUTE)

        assert "It did not run: it was missed (overlap)" in said(found)
        assert "was still running, and overlap is 'skip'" in said(found)
        assert "which started at 00:10 UTC, and ended at 00:25 UTC (success)" in said(found)

    async def test_one_that_was_replaced_in_the_queue_is_told_with_the_newer_fire(self, world: World) -> None:
        async def slow() -> None:
            await world.clock.sleep(1500)

        await world.serve(job(func=slow, overlap="queue"))

        found = await world.explain(START + 20 * MINUTE)

        assert "It did not run: it was missed (overlap)" in said(found)
        assert "replaced in the queue by the fire of 00:30 UTC." in said(found)

    async def test_one_that_a_guard_refused_is_told_with_its_reason(self, world: World) -> None:
        class Exchange:
            @hookimpl
            def guard(self, job: Job, scheduled_time: datetime) -> str:
                return "the exchange is closed"

        plugins = PluginSet()
        plugins.add(Exchange(), "exchange")
        await world.serve(job(), plugins=plugins)

        assert "A guard refused it: the exchange is closed." in said(await world.explain(START + 10 * MINUTE))

    async def test_those_of_a_time_without_a_kernel_are_told_with_that_time(self, world: World) -> None:
        await world.serve(job())
        await world.clock.advance(HOUR)
        await world.serve(job())

        found = await world.explain(START + 80 * MINUTE)

        assert "it was missed (downtime), recorded at 02:00 UTC" in said(found)
        assert (
            "No kernel was running: the kernel was stopped at 01:00 UTC (it was closed); "
            "the next one started at 02:00 UTC on a."
        ) in said(found)
        assert "one of 5 fires from 01:10 UTC to 01:50 UTC that were missed together" in said(found)
        assert found.fires[0].silence is not None
        assert found.fires[0].count == 5

    async def test_one_too_late_for_its_grace_is_told_in_the_words_of_the_kernel(self, world: World) -> None:
        detail = "it waited for a slot for longer than its grace of 1m"
        await world.tells(
            job_added(at=START, cron="0 * * * *"), missed(at=START + HOUR, reason="capacity", detail=detail)
        )
        world.clock = VirtualClock(START + 2 * HOUR)

        assert f"The kernel says: {detail}." in said(await world.explain(START + HOUR))

    async def test_one_that_a_pause_holds_back_is_told_with_who_can_let_it_go(self, world: World) -> None:
        async with world.kernel(job()) as kernel:
            await kernel.pause("sync", actor="ann", reason="holidays")
            await world.clock.advance(HOUR)

        found = await world.explain(START + 20 * MINUTE)

        assert "It has not run. The job is paused, since 00:00 UTC by ann (holidays)" in said(found)
        assert found.fires[0].fate == "held_back"

    async def test_an_undecided_fire_is_explained_with_the_last_event_in_the_log(self, world: World) -> None:
        await world.serve(job())
        await world.clock.advance(HOUR)

        found = await world.explain(START + 80 * MINUTE)

        assert "no kernel has decided it yet, and the kernel was stopped at 01:00 UTC (it was closed)." in said(found)
        assert found.fires[0].fate == "undecided"

    async def test_a_future_fire_is_said_to_come(self, world: World) -> None:
        await world.serve(job())

        found = await world.explain(START + 80 * MINUTE)

        assert said(found) == "sync is due at 01:20 UTC. It is due in 20 m 00 s."

    async def test_one_that_the_log_forgot_and_one_that_it_lost_are_told_apart(self, world: World) -> None:
        await world.serve(job(), during=2 * HOUR)
        await world.store.open()
        await world.store.prune(START + HOUR)
        lossy = World()
        await lossy.tells(job_added(at=START, cron="0 * * * *"), succeeded(at=START + 2 * HOUR))
        lossy.clock = VirtualClock(START + 2 * HOUR)

        forgotten, lost = await world.explain(START + 20 * MINUTE), await lossy.explain(START + HOUR)

        assert [forgotten.fires[0].fate, lost.fires[0].fate] == ["forgotten", "no_outcome"]
        assert "see `gnomon audit`" in said(lost)


class TestHolds:
    async def test_the_hold_is_named_while_it_lasts_also_after_the_kernel_has_ended(self, world: World) -> None:
        async with world.kernel(job()) as kernel:
            await world.clock.advance(15 * MINUTE)
            await kernel.hold(actor="ann", reason="maintenance")
            await world.clock.advance(20 * MINUTE)
        due, to_come = await world.explain(START + 20 * MINUTE), await world.explain(START + 40 * MINUTE)
        async with world.kernel(job()) as kernel:
            await kernel.pause("sync", actor="bob")
        both = await world.explain(START + 20 * MINUTE)

        assert (due.fires[0].fate, to_come.fires[0].fate) == ("held_back", "to_come")
        held = "All fires are held, since 00:15 UTC by ann (maintenance)"
        assert f"It has not run. {held}: it is held back until the hold is released." in said(due)
        assert f"{held}: unless the hold is released, it will not run." in said(to_come)
        assert "since 00:35 UTC by bob. All fires are held" in said(both)
        assert "until the job is resumed and the hold is released" in said(both)

    async def test_the_hold_is_the_cause_of_a_delay_and_of_what_was_missed_also_after_a_restart(
        self, world: World
    ) -> None:
        once = job("once", at=START + 30 * MINUTE)
        async with world.kernel(job(), once) as kernel:
            await world.clock.advance(15 * MINUTE)
            await kernel.hold(actor="ann", reason="maintenance")
            await world.clock.advance(20 * MINUTE)
        await world.clock.advance(HOUR)
        async with world.kernel(job(), once) as kernel:
            await world.clock.advance(5 * MINUTE)
            await kernel.release(actor="bob")
            await world.clock.advance(HOUR)

        late, lost = await world.explain(job_id="once"), await world.explain(START + 20 * MINUTE)
        after = await world.explain(START + 2 * HOUR)

        held = "from 00:15 UTC to 01:40 UTC by ann (maintenance)."
        assert f"it started at 01:40 UTC (run {late.fires[0].executions[0].id}). All fires were held" in said(late)
        assert f"All fires were held when it was due, {held}" in said(late)
        assert "No kernel" not in said(late)
        assert f"it was missed (held), recorded at 01:40 UTC. All fires were held, {held} It is one of" in said(lost)
        assert lost.fires[0].hold is not None
        assert lost.fires[0].hold.ended_by == "bob"
        assert "It ran on time" in said(after)

    async def test_a_short_hold_is_named_too(self, world: World) -> None:
        async with world.kernel(job()) as kernel:
            await world.clock.advance(9 * MINUTE)
            await kernel.hold(actor="ann")
            await world.clock.advance(MINUTE + timedelta(seconds=0.5))
            await kernel.release()
            await world.clock.advance(MINUTE)

        found = await world.explain(START + 10 * MINUTE)

        assert "It ran late, by 500 ms" in said(found)
        assert "All fires were held when it was due, from 00:09 UTC to 00:10:00.500 UTC by ann." in said(found)

    async def test_a_job_that_was_removed_after_its_fire_is_not_said_to_have_had_none(self, world: World) -> None:
        async with world.kernel() as kernel:
            await kernel.add_job(Job(id="once", func=f"{__name__}:nothing", at=START + MINUTE))
            await world.clock.advance(HOUR)

        found = await world.explain(job_id="once")

        assert "It succeeded" in said(found)
        assert "once was removed at" in said(found)
        assert found.sentences[-1].endswith(", so no fire follows.")


class TestTimesWithoutAFire:
    async def test_the_nearest_fires_are_named(self, world: World) -> None:
        await world.serve(job())

        found = await world.explain(START + 25 * MINUTE)

        assert "sync has no fire at 00:25 UTC." in said(found)
        assert (found.before, found.after) == (START + 20 * MINUTE, START + 30 * MINUTE)
        assert "The fire before was at 00:20 UTC (success)." in said(found)

    async def test_before_the_job_was_added_and_after_it_was_removed(self, world: World) -> None:
        async with world.kernel(job()) as kernel:
            await world.clock.advance(HOUR)
            await kernel.apply_jobs([], actor="ann", reason="no longer needed")
            await world.clock.advance(HOUR)

        early, late = await world.explain(START - HOUR), await world.explain(START + 80 * MINUTE)

        assert "sync was added at 00:00 UTC by kernel" in said(early)
        assert "sync was removed at 01:00 UTC by ann (no longer needed)" in said(late)

    async def test_under_a_schedule_that_was_another_one_then(self, world: World) -> None:
        async with world.kernel(job()) as kernel:
            await world.clock.advance(HOUR)
            await kernel.apply_jobs([job(every=Duration(minutes=7))], actor="ann")
            await world.clock.advance(HOUR)

        found = await world.explain(START + 7 * MINUTE)

        assert "Every 10th minute" in said(found)
        assert "This was the schedule until 01:00 UTC, when it was changed by ann (reload)." in said(found)

    async def test_of_a_job_without_a_schedule(self, world: World) -> None:
        await world.serve(Job(id="sync", func=nothing))

        assert "it runs only when it is triggered" in said(await world.explain(START + MINUTE))

    async def test_of_a_trigger_that_has_ended(self, world: World) -> None:
        await world.serve(job(at=START + 10 * MINUTE))

        found = await world.explain()

        assert "The last fire of sync was due at 00:10 UTC." in said(found)
        assert "No fire follows" in said(found)
        assert "has ended" in said(found)

    async def test_of_a_trigger_that_only_its_code_knows(self, world: World) -> None:
        await world.serve(job(trigger=IntervalTrigger(minutes=10, start_date=START)))

        at_a_fire, between = await world.explain(START + 20 * MINUTE), await world.explain(START + 25 * MINUTE)

        assert "It ran on time" in said(at_a_fire)
        assert "object in code" in said(between)

    async def test_of_a_trigger_that_counts_from_its_last_fire(self, world: World) -> None:
        first = START + 3 * MINUTE
        told = [succeeded(at=first + n * 10 * MINUTE) for n in range(12)]
        await world.tells(job_added(at=START, trigger={"type": "interval", "minutes": 10}), *told)
        world.clock = VirtualClock(START + 2 * HOUR)

        at_a_fire, between = await world.explain(START + 93 * MINUTE), await world.explain(START + 95 * MINUTE)
        to_come = await world.explain(START + 143 * MINUTE)

        assert at_a_fire.fires[0].fate == "success"
        assert (between.before, between.after) == (first + 90 * MINUTE, first + 100 * MINUTE)
        assert to_come.fires[0].fate == "to_come"

    async def test_of_a_job_that_was_paused_twice_the_right_pause_is_told(self, world: World) -> None:
        async with world.kernel(job()) as kernel:
            for who in ("ann", "bob"):
                await world.clock.advance(5 * MINUTE)
                await kernel.pause("sync", actor=who)
                await world.clock.advance(20 * MINUTE)
                await kernel.resume("sync")
                await world.clock.advance(5 * MINUTE)

        first, second = await world.explain(START + 10 * MINUTE), await world.explain(START + 40 * MINUTE)

        assert "from 00:05 UTC to 00:25 UTC by ann" in said(first)
        assert "from 00:35 UTC to 00:55 UTC by bob" in said(second)

    async def test_of_an_unknown_job(self, world: World) -> None:
        await world.serve(job())

        with pytest.raises(UnknownJobError, match="did you mean 'sync'"):
            await world.explain(job_id="snyc")


class TestWhatMayBeAsked:
    async def test_without_a_time_the_last_fire_and_the_next_are_told(self, world: World) -> None:
        await world.serve(job())

        found = await world.explain()

        assert "The last fire of sync was due at 01:00 UTC. It ran on time" in said(found)
        assert "The next fire is due at 01:10 UTC. It is due in 10 m 00 s." in said(found)

    async def test_a_minute_means_the_fire_within_it(self, world: World) -> None:
        await world.serve(job(every=Duration(minutes=7, seconds=3)))

        found = await world.explain(START + 14 * MINUTE)

        assert "sync was due at 00:14:06 UTC" in said(found)

    async def test_a_wall_time_is_one_of_the_zone_of_the_job(self, world: World) -> None:
        await world.serve(job(timezone="Asia/Shanghai"))

        found = await world.explain(datetime(2026, 1, 1, 8, 20))  # noqa: DTZ001 - that is what is asked

        assert "sync was due at 08:20 +08" in said(found)

    async def test_a_day_tells_its_fires_one_by_one_and_counts_the_rest(self, world: World) -> None:
        await world.serve(job(), during=4 * HOUR)

        found = await world.explain(date(2026, 1, 1))

        assert len(found.fires) == 12
        assert "131 more fires on that day" in said(found)

    async def test_a_day_without_a_fire_names_the_nearest(self, world: World) -> None:
        await world.serve(job(cron="0 0 3 * *"))

        found = await world.explain(date(2026, 1, 2))

        assert "sync has no fire on 2026-01-02." in " ".join(found.sentences)
        assert found.after == START + 2 * DAY


class TestJobsThatFollowOthers:
    """`up` has a jitter of up to 9 minutes, and fires 8 m 07.053 s after 00:10."""

    JITTER = Duration(minutes=9)
    UP_AT = "00:18:07.053 UTC"

    def jobs(self) -> list[Job]:
        report, mail = Job(id="report", func=nothing, after=["up"]), Job(id="mail", func=nothing, after=["report"])
        return [job("up", jitter=self.JITTER), report, mail]

    async def test_the_jitter_of_the_job_that_is_followed_is_the_cause_of_the_delay(self, world: World) -> None:
        await world.serve(*self.jobs())

        report = said(await world.explain(START + 10 * MINUTE, "report"))
        mail = said(await world.explain(START + 10 * MINUTE, "mail"))

        assert f"of job up, which succeeded at {self.UP_AT}. The job follows job up, which was due" in report
        assert f"later by its jitter, at {self.UP_AT}. It succeeded" in report
        assert "The job follows job report, which was due then too. " in mail
        assert f"Job report follows job up, which was due 8 m 07 s later by its jitter, at {self.UP_AT}." in mail
        assert not [words for words in (report, mail) if "The kernel did not" in words or "No kernel" in words]

    async def test_a_time_without_a_kernel_is_named_though_it_ran_at_the_nominal_time(self, world: World) -> None:
        await world.serve(*self.jobs(), during=10 * MINUTE + timedelta(seconds=1.2))
        await world.clock.advance(10 * MINUTE)
        await world.serve(*self.jobs(), during=MINUTE)

        report = await world.explain(START + 10 * MINUTE, "report")

        assert f"later by its jitter, at {self.UP_AT}. The log has that fire since 00:20:01.200 UTC." in said(report)
        assert "No kernel was running when it was due: the kernel was stopped at 00:10:01.200 UTC" in said(report)

    async def test_a_pause_of_the_job_that_is_followed_is_named(self, world: World) -> None:
        async with world.kernel(*self.jobs()) as kernel:
            await kernel.pause("up", actor="ann")
            await world.clock.advance(19 * MINUTE)
            await kernel.resume("up")
            await world.clock.advance(MINUTE)

        report = said(await world.explain(START + 10 * MINUTE, "report"))

        assert "Job up was paused when it was due, from 00:00 UTC to 00:19 UTC by ann." in report

    async def test_a_hold_over_the_fire_of_the_job_that_is_followed_is_named(self, world: World) -> None:
        async with world.kernel(*self.jobs()) as kernel:
            await world.clock.advance(12 * MINUTE)
            await kernel.hold(actor="ann")
            await world.clock.advance(7 * MINUTE)
            await kernel.release()
            await world.clock.advance(MINUTE)

        mail = said(await world.explain(START + 10 * MINUTE, "mail"))

        assert "All fires were held when it was due, from 00:12 UTC to 00:19 UTC by ann." in mail
        assert mail.count("All fires were held") == 1

    async def test_a_kernel_that_ended_before_it_followed_is_the_cause(self, world: World) -> None:
        jobs = [job("up"), Job(id="report", func=nothing, after=["up"])]
        async with world.kernel(*jobs) as kernel:
            kernel._leader._dependencies._note_fire = lambda event: None  # type: ignore[method-assign]
            await world.clock.advance(10 * MINUTE + timedelta(seconds=1.2))
        await world.clock.advance(5 * MINUTE)
        await world.serve(*jobs, during=MINUTE)

        report = said(await world.explain(START + 10 * MINUTE, "report"))

        assert "which succeeded at 00:10 UTC. The job follows job up, which was due then too. No kernel was" in report
        assert "stopped at 00:10:01.200 UTC (it was closed); the next one started at 00:15:01.200 UTC on a." in report

    async def test_a_day_tells_the_recorded_fires(self, world: World) -> None:
        await world.serve(*self.jobs(), during=23 * MINUTE)
        few = await world.explain(date(2026, 1, 1), "report")
        await world.serve(*self.jobs(), during=DAY)

        many, next_day, none = [await world.explain(date(2026, 1, day), "report") for day in (1, 2, 3)]

        assert [fire.scheduled_time for fire in few.fires] == [START + 10 * MINUTE]
        assert (len(many.fires), many.sentences[-1]) == (12, "131 more fires on that day; ask about one by its time.")
        assert next_day.fires[0].scheduled_time == START + DAY
        assert "The log has no fire on 2026-01-03." in said(none)


def wall(text: str) -> datetime:
    return datetime.fromisoformat(text)


class TestClockChanges:
    async def served(self, zone: str, day: str, cron: str, *, days: int = 2) -> World:
        world = World(wall(f"{day}T00:00").replace(tzinfo=UTC) - DAY)
        await world.serve(job(cron=cron, timezone=zone), during=days * DAY)
        return world

    @pytest.mark.parametrize(
        ("zone", "asked", "gap", "fire"),
        [
            ("Europe/Berlin", "2026-03-29T02:30", "forward from 02:00 to 03:00", "03:00 +02"),
            ("America/New_York", "2026-03-08T02:30", "forward from 02:00 to 03:00", "03:00 -04"),
            ("Australia/Lord_Howe", "2026-10-04T02:15", "forward from 02:00 to 02:30", "02:30 +11"),
            ("America/Sao_Paulo", "2018-11-04T00:30", "forward from 00:00 to 01:00", "01:00 -02"),
        ],
    )
    async def test_a_fixed_time_that_clocks_skip_runs_after_the_gap(
        self, zone: str, asked: str, gap: str, fire: str
    ) -> None:
        at = wall(asked)
        world = await self.served(zone, asked[:10], f"{at.minute} {at.hour} * * *")

        found = await world.explain(at)
        told = " ".join(found.sentences)

        assert f"The clocks never show {at:%H:%M} on that day" in told
        assert gap in told
        assert (
            f"those that the clocks skip fire once, together, at the first instant after the gap, {asked[:10]} {fire}"
            in told
        )
        assert found.fires[0].fate == "success"
        assert found.clock_change is not None
        assert found.clock_change.kind == "gap"

    @pytest.mark.parametrize(
        ("zone", "asked", "after"),
        [
            ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29 03:00 +02"),
            ("America/New_York", "2026-03-08T02:30", "2026-03-08 03:00 -04"),
            ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-04 02:30 +11"),
            ("America/Sao_Paulo", "2018-11-04T00:30", "2018-11-04 01:00 -02"),
        ],
    )
    async def test_elapsed_time_does_not_fire_where_clocks_skip(self, zone: str, asked: str, after: str) -> None:
        world = await self.served(zone, asked[:10], "*/15 * * * *")

        found = await world.explain(wall(asked))

        assert "follows elapsed time, so it does not fire at times that the clocks skip" in " ".join(found.sentences)
        assert f"The fire after was due at {after}." in found.sentences
        assert found.fires == []

    @pytest.mark.parametrize(
        ("zone", "asked", "first", "second"),
        [
            ("Europe/Berlin", "2026-10-25T02:30", "+02", "+01"),
            ("America/New_York", "2026-11-01T01:30", "-04", "-05"),
            ("Australia/Lord_Howe", "2026-04-05T01:45", "+11", "+10:30"),
            ("America/Sao_Paulo", "2018-02-17T23:30", "-02", "-03"),
        ],
    )
    async def test_a_wall_time_that_comes_twice_fires_once_or_twice(
        self, zone: str, asked: str, first: str, second: str
    ) -> None:
        at = wall(asked)
        fixed = await self.served(zone, asked[:10], f"{at.minute} {at.hour} * * *", days=3)
        elapsed = await self.served(zone, asked[:10], "*/15 * * * *", days=3)

        once, twice = await fixed.explain(at), await elapsed.explain(at)

        assert f"{at:%H:%M} occurs twice on that day" in once.sentences[0]
        assert "so it fires in the first pass only" in " ".join(once.sentences)
        assert [story.fate for story in once.fires] == ["success"]
        assert f"sync was due at {asked.replace('T', ' ')} {first}." in once.sentences
        assert [story.fate for story in twice.fires] == ["success", "success"]
        assert f"sync was due at {asked.replace('T', ' ')} {second}." in twice.sentences

    async def test_the_second_pass_alone_has_no_fire_of_a_fixed_time(self) -> None:
        world = await self.served("Europe/Berlin", "2026-10-25", "30 2 * * *", days=3)

        found = await world.explain(wall("2026-10-25T02:30+01:00"))

        assert "This is the second time, and the schedule fires in the first pass only." in " ".join(found.sentences)
        assert found.fires == []
        assert found.before == wall("2026-10-25T02:30+02:00")

    async def test_the_fire_after_a_gap_names_the_skipped_times(self) -> None:
        world = await self.served("Europe/Berlin", "2026-03-29", "30 2 * * *")

        found = await world.explain(wall("2026-03-29T03:00"))

        assert (
            "Fixed times of the day that the clocks skip fire at the first instant after the gap: this one."
            in found.sentences
        )

    async def test_a_gap_at_another_time_of_the_day_is_not_spoken_of(self) -> None:
        world = await self.served("Europe/Berlin", "2026-03-29", "30 12 * * *")

        found = await world.explain(wall("2026-03-29T12:30"))

        assert found.clock_change is None
        assert "clocks" not in " ".join(found.sentences)

    async def test_a_day_of_a_clock_change_says_so(self) -> None:
        world = await self.served("America/Sao_Paulo", "2018-11-04", "0 0 * * *")

        found = await world.explain(date(2018, 11, 4))

        assert "forward from 00:00 to 01:00" in found.sentences[0]
        assert [story.scheduled_time for story in found.fires] == [wall("2018-11-04T01:00 -02")]


async def test_a_clock_that_is_behind_the_log_is_named(world: World) -> None:
    await world.serve(job())
    in_time = await world.explain()
    world.clock = VirtualClock(START - HOUR)

    behind = await world.explain()

    assert "The clock of this machine" not in " ".join(in_time.sentences)
    assert "The clock of this machine is 2 h 00 m behind the newest event of the log" in " ".join(behind.sentences)
    assert "Set the clock, or wait." in behind.sentences[-1]


class TestRuns:
    """Explanations of one run: that of a fire, or another one."""

    async def explain_run(self, world: World, run_id: str) -> str:
        await world.store.open(read_only=True)
        return said(await explain_run(world.store, run_id, world.clock.now()))

    async def test_a_run_of_a_fire_is_explained_by_its_fire_whichever_attempt_is_asked_for(self, world: World) -> None:
        async def fail() -> None:
            raise ValueError("no such table")

        await world.serve(job(func=fail, retry=Retry(attempts=2, delay=Duration(seconds=30))))
        of_fire = await world.explain(START + 10 * MINUTE)

        for run in of_fire.fires[0].executions:
            found = await explain_run(world.store, run.id, world.clock.now())
            assert found.asked == run.id
            assert found.sentences == of_fire.sentences
            assert len(found.fires[0].executions) == 2

    async def test_a_manual_run_that_waits_for_another_says_so_and_then_how_long_it_waited(self, world: World) -> None:
        async def busy() -> None:
            await world.clock.sleep(600)

        async with world.kernel(job(func=busy, at=START + DAY, overlap="queue", cron=None)) as kernel:
            first = (await kernel.trigger("sync", actor="ann")).execution
            second = (await kernel.trigger("sync", actor="ben")).execution
            await world.clock.advance(MINUTE)
            waiting = said(await kernel.explain_run(second.id))
            await world.clock.advance(20 * MINUTE)
            over = said(await kernel.explain_run(second.id))

        assert waiting.startswith(f"Run {second.id} of sync was triggered at 00:00 UTC by ben. It was accepted at ")
        assert f"It is waiting for run {first.id} of this job, which started at 00:00 UTC" in waiting
        assert "It ran 10 m 00 s after it was triggered: it started at 00:10 UTC" in over
        assert f"It waited 10 m 00 s for another run of the job to end. That was run {first.id}" in over
        assert over.endswith("It succeeded after 10 m 00 s.")

    async def test_a_manual_run_that_starts_at_once_and_its_retries_are_explained(self, world: World) -> None:
        async def fail() -> None:
            raise ValueError("no such table")

        async with world.kernel(job(func=fail, retry=Retry(attempts=2, delay=Duration(seconds=30)))) as kernel:
            first = (await kernel.trigger("sync", actor="ann", force=True)).execution
            await world.clock.advance(5 * MINUTE)
            found = await kernel.explain_run(first.id)
            second = found.fires[0].executions[1]
            assert (await kernel.explain_run(second.id)).sentences == found.sentences

        assert "was triggered at 00:00 UTC by ann, with guards skipped. It ran at once: it started at " in said(found)
        assert f"It was retried: attempt 2 is run {second.id}." in said(found)
        assert second.retry_of == first.id

    async def test_what_a_backfill_a_start_and_a_run_made_is_told_so(self, world: World) -> None:
        made = [
            scheduled(at=START, is_manual=True, cause="backfill", actor="ann"),
            scheduled(at=START + MINUTE, is_manual=True, cause="at_start"),
            scheduled(at=START + 2 * MINUTE, is_manual=True, triggered_by="f" * 24),
        ]
        await world.tells(job_added(at=START), *made)

        words = [said(await explain_run(world.store, history[0].stream, world.clock.now())) for history in made]

        assert "was made by a backfill by ann, for the fire of 00:00 UTC." in words[0]
        assert "was made at the start of a kernel, at 00:01 UTC." in words[1]
        assert f"was triggered at 00:02 UTC by run {'f' * 24}, which was pruned." in words[2]

    async def test_imported_runs_are_told_and_unknown_ones_are_refused(self, world: World) -> None:
        history = imported()
        await world.tells(history)

        assert "was recorded from" in said(await explain_run(world.store, history[0].stream, world.clock.now()))
        with pytest.raises(UnknownExecutionError):
            await explain_run(world.store, "0" * 24, world.clock.now())
