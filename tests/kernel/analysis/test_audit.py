"""The audit proves what kernels do, and finds what is done to their logs."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import msgspec
import pytest
from apscheduler.triggers.interval import IntervalTrigger

from gnomon.analysis.audit import AuditReport, JobAudit, audit
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.rollback import Loss, Rollback
from gnomon.durations import Duration
from gnomon.errors import UnknownJobError
from gnomon.jobs.job import Job, Retry
from gnomon.kernel import Kernel
from gnomon.stores.memory import MemoryStore
from gnomon.testing.clock import START, VirtualClock
from gnomon.testing.histories import append, extend, job_added, missed, scheduled, succeeded

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


async def nothing() -> None:
    pass


def job(id: str = "sync", **keys: Any) -> Job:
    keys = {"cron": "*/10 * * * *"} | keys if not {"every", "at", "trigger"} & set(keys) else keys
    return Job(id=id, func=keys.pop("func", nothing), **keys)


class World:
    """A log, a clock, and one kernel after the other."""

    def __init__(self) -> None:
        self.clock = VirtualClock(START)
        self.store = MemoryStore()

    def kernel(self, *jobs: Job, **settings: Any) -> Kernel:
        kernel = Kernel(store=self.store, jobs=jobs, clock=self.clock, node="a", drain=timedelta(), **settings)
        self.clock.is_idle = lambda: kernel.is_idle
        return kernel

    async def serve(self, *jobs: Job, during: timedelta = HOUR) -> None:
        async with self.kernel(*jobs):
            await self.clock.advance(during)

    async def audit(self, *job_ids: str, since: datetime = START, **more: Any) -> AuditReport:
        await self.store.open(read_only=True)
        return await audit(self.store, since, self.clock.now(), job_ids or None, **more)


@pytest.fixture
def world() -> World:
    return World()


async def forge(store: MemoryStore, change: Callable[[list[Event]], Iterable[Event]]) -> MemoryStore:
    """Write another log with modified events of this one."""
    await store.open(read_only=True)
    told = list(change(await store.read(0, 1_000_000)))
    kept = sorted(told, key=lambda event: event.stream)
    versions = {
        id(event): version for _, stream in groupby(kept, lambda e: e.stream) for version, event in enumerate(stream, 1)
    }
    forged = MemoryStore()
    await forged.open()
    await append(forged, [msgspec.structs.replace(event, version=versions[id(event)]) for event in told])
    return forged


def outcomes(log: Iterable[Event], job_id: str = "sync") -> list[Event]:
    return [e for e in log if e.job_id == job_id and isinstance(e, events.Scheduled | events.Missed) and e.version == 1]


def without(position: int) -> Callable[[list[Event]], Iterable[Event]]:
    """Drop all of one execution: the n-th outcome of the log."""

    def drop(log: list[Event]) -> Iterable[Event]:
        stream = outcomes(log)[position].stream
        return [event for event in log if event.stream != stream]

    return drop


def with_more(*more: Event) -> Callable[[list[Event]], Iterable[Event]]:
    return lambda log: [*log, *more]


def twin_of(fire: datetime) -> Event:
    """Return the events of a run with its own id."""
    return msgspec.structs.replace(scheduled(at=fire)[0], stream="f" * 24)


async def test_a_log_that_has_lost_events_proves_nothing(world: World) -> None:
    await world.serve(job())
    assert (await world.audit()).is_proved

    world.store.loss = Loss(Rollback(last=2, expected=9), "refused")

    report = await world.audit()
    assert report.lost == Rollback(2, 9)
    assert not report.is_proved


def only(report: AuditReport, job_id: str = "sync") -> JobAudit:
    return next(one for one in report.jobs if one.job_id == job_id)


def problems(report: AuditReport) -> list[tuple[str, datetime, int]]:
    return [(found.problem, found.first, found.count) for one in report.jobs for found in one.findings]


def openings(report: AuditReport) -> list[tuple[str, datetime, int]]:
    return [(found.reason, found.first, found.count) for one in report.jobs for found in one.open]


async def missed_by(world: World, report: AuditReport) -> list[int]:
    """Return how many fires of each job of a report the log counts as missed."""
    log = await world.store.read()
    by_job = Counter[str]()
    for event in log:
        if isinstance(event, events.Missed):
            by_job[event.job_id] += event.count
    return [by_job[one.job_id] for one in report.jobs]


class TestWhatAKernelDid:
    async def test_an_hour_of_fires_is_proved(self, world: World) -> None:
        await world.serve(job())

        report = await world.audit()

        assert report.is_proved
        assert (only(report).fires, only(report).missed, only(report).open) == (6, 0, [])

    @pytest.mark.parametrize("catch_up", ["latest", "all", "none"])
    async def test_fires_of_a_time_without_a_kernel_are_proved(self, world: World, catch_up: str) -> None:
        await world.serve(job(catch_up=catch_up))
        await world.clock.advance(HOUR)
        await world.serve(job(catch_up=catch_up))

        report = await world.audit()

        assert problems(report) == []
        assert only(report).fires == 18
        assert only(report).missed == {"latest": 5, "all": 0, "none": 5}[catch_up]

    async def test_fires_that_a_pause_held_back_are_proved(self, world: World) -> None:
        async with world.kernel(job()) as kernel:
            await kernel.pause("sync", actor="ann", reason="holidays")
            await world.clock.advance(HOUR)
            await kernel.resume("sync")
            await world.clock.advance(HOUR)

        report = await world.audit()

        assert problems(report) == []
        assert (only(report).fires, only(report).missed) == (12, 5)

    async def test_overlaps_and_late_starts_are_proved(self, world: World) -> None:
        async def slow() -> None:
            await world.clock.sleep(1500)

        jobs = [job(overlap, func=slow, overlap=overlap) for overlap in ("skip", "queue", "cancel_previous")]
        await world.serve(*jobs, during=3 * HOUR)

        report = await world.audit()

        assert problems(report) == []
        assert [one.fires for one in report.jobs] == [18, 18, 18]
        assert await missed_by(world, report) == [one.missed for one in report.jobs]

    async def test_a_run_that_was_accepted_and_never_started_is_missed(self, world: World) -> None:
        async def fail() -> None:
            raise ValueError("boom")

        jobs = [
            job(func=fail, retry=Retry(attempts=2)),
            job("own", after=["sync"]),
            Job(id="none", func=nothing, after=["sync"]),
        ]
        await world.serve(*jobs)

        report = await world.audit()

        assert problems(report) == []
        assert [(one.job_id, one.missed) for one in report.jobs] == [
            ("none", 5),
            ("own", 5),
            ("sync", 0),
        ]  # the last is retried
        assert await missed_by(world, report) == [5, 5, 0]
        assert only(await world.audit("own"), "own").missed == 5

    async def test_retries_and_runs_by_hand_are_no_fires(self, world: World) -> None:
        async def fail() -> None:
            raise ValueError("boom")

        async with world.kernel(job(func=fail, retry=Retry(attempts=3))) as kernel:
            await world.clock.advance(HOUR)
            await kernel.trigger("sync")
            await world.clock.advance(HOUR)

        report = await world.audit()

        assert problems(report) == []
        assert only(report).fires == 12

    async def test_a_reload_is_proved_with_the_schedules_of_both_sides(self, world: World) -> None:
        async with world.kernel(job()) as kernel:
            await world.clock.advance(25 * MINUTE)
            await kernel.apply_jobs([job(every=Duration(minutes=7))])
            await world.clock.advance(35 * MINUTE)

        report = await world.audit()

        assert problems(report) == []
        assert only(report).fires == 2 + 5

    async def test_a_change_that_nobody_was_there_to_see_is_proved(self, world: World) -> None:
        await world.serve(job(), job("gone"))
        await world.clock.advance(HOUR)
        await world.serve(job(every=Duration(minutes=7)))

        report = await world.audit()

        assert problems(report) == []
        assert [(one.job_id, one.fires, one.missed) for one in report.jobs] == [("gone", 12, 6), ("sync", 20, 6)]

    async def test_a_job_that_was_removed_and_came_again_is_proved(self, world: World) -> None:
        async with world.kernel(job()) as kernel:
            await world.clock.advance(HOUR)
            await kernel.apply_jobs([])
            await world.clock.advance(HOUR)
            await kernel.apply_jobs([job()])
            await world.clock.advance(HOUR)

        report = await world.audit()

        assert problems(report) == []
        assert only(report).fires == 12

    async def test_a_fire_that_was_past_when_it_was_added_is_proved_at_once(self, world: World) -> None:
        await world.clock.advance(HOUR)
        await world.serve(job(at=START + 30 * MINUTE), during=timedelta())

        report = await world.audit()

        assert problems(report) == []
        assert only(report).fires == 1

    async def test_the_nights_of_the_clock_change_are_proved(self, world: World) -> None:
        world.clock = VirtualClock(datetime(2026, 3, 28, tzinfo=UTC))
        jobs = [job("fixed", cron="30 2 * * *"), job("elapsed", cron="*/15 * * * *")]
        await world.serve(*(msgspec.structs.replace(one, timezone="Europe/Berlin") for one in jobs), during=2 * DAY)

        report = await world.audit(since=world.clock.now() - 2 * DAY)

        assert problems(report) == []
        assert [(one.job_id, one.fires) for one in report.jobs] == [("elapsed", 192), ("fixed", 2)]

    async def test_a_span_may_begin_within_a_long_range_of_missed_fires(self, world: World) -> None:
        await world.serve(job(every=Duration(minutes=7)))
        await world.clock.advance(5 * HOUR)
        await world.serve(job(every=Duration(minutes=7)))

        report = await world.audit(since=START + 3 * HOUR)

        assert problems(report) == []
        assert only(report).missed > 30

    async def test_a_clock_that_was_set_back_doubles_nothing(self, world: World) -> None:
        async with world.kernel(job(), job("other", every=Duration(minutes=7))) as kernel:
            await world.clock.advance(HOUR)
            await world.clock.jump(-30 * MINUTE)
            await world.clock.advance(20 * MINUTE)
            await kernel.apply_jobs([job("other", every=Duration(minutes=9)), job(cron="*/15 * * * *")])
            await world.clock.advance(2 * HOUR)

        everything, alone = await world.audit(), await world.audit("other")

        assert problems(everything) == []
        assert only(everything, "other") == only(alone, "other")
        assert [(one.job_id, one.fires) for one in everything.jobs] == [("other", 8 + 3 + 10), ("sync", 6 + 7)]

    async def test_one_job_alone_gives_the_same_answer(self, world: World) -> None:
        await world.serve(job(), job("other", every=Duration(seconds=20)), during=DAY)

        everything, alone = await world.audit(), await world.audit("other")

        assert alone.jobs == [only(everything, "other")]
        assert alone.jobs[0].fires == 3 * 1440


class TestJobsThatHaveOnlyTheTimesOfOthers:
    jobs = (
        job(),
        job("other", cron="*/20 * * * *"),
        Job(id="report", func=nothing, after=["sync", "other"]),
        Job(id="mail", func=nothing, after=["report"]),
    )

    async def test_they_are_proved_by_what_their_upstream_jobs_decided(self, world: World) -> None:
        await world.serve(*self.jobs, job("own", after=["sync"]), Job(id="by_hand", func=nothing))

        everything, alone = await world.audit(), await world.audit("mail")

        assert everything.is_proved
        assert alone.jobs == [only(everything, "mail")]
        found = {one.job_id: (one.fires, one.unproved, one.open) for one in everything.jobs}
        assert found["report"] == found["mail"] == (3, [], [])
        assert (found["own"], found["by_hand"]) == ((6, [], []), (0, [], []))

    @pytest.mark.parametrize("name", ["report", "mail"])
    async def test_a_time_without_an_outcome_is_found(self, world: World, name: str) -> None:
        await world.serve(*self.jobs)

        def drop(log: list[Event]) -> Iterable[Event]:
            stream = outcomes(log, name)[1].stream
            return [event for event in log if event.stream != stream]

        report = await audit(await forge(world.store, drop), START, START + HOUR)

        assert ("no_outcome", START + 40 * MINUTE, 1) in problems(report)

    async def test_the_last_time_may_still_be_decided(self, world: World) -> None:
        await world.serve(*self.jobs)

        def drop(log: list[Event]) -> Iterable[Event]:
            streams = [outcomes(log, name)[2].stream for name in ("report", "mail")]
            return [event for event in log if event.stream not in streams]

        report = await audit(await forge(world.store, drop), START, START + HOUR)

        assert report.is_proved
        assert openings(report) == [("undecided", START + HOUR, 1)]

    async def test_two_outcomes_and_those_at_times_of_no_upstream_job_are_found(self, world: World) -> None:
        await world.serve(*self.jobs)
        second = msgspec.structs.replace(scheduled("report", START + 20 * MINUTE)[0], stream="f" * 24)
        other = scheduled("mail", START + 30 * MINUTE)

        report = await audit(await forge(world.store, with_more(second, *other)), START, START + HOUR)

        assert sorted(problems(report)) == [
            ("not_named", START + 30 * MINUTE, 1),
            ("two_outcomes", START + 20 * MINUTE, 1),
        ]

    async def test_a_range_of_another_length_is_found(self, world: World) -> None:
        await world.serve(*self.jobs)
        await world.clock.advance(3 * HOUR)
        await world.serve(*self.jobs)
        assert (await world.audit()).is_proved

        def shorten(log: list[Event]) -> Iterable[Event]:
            for event in log:
                is_range = isinstance(event, events.Missed) and event.job_id == "report"
                count = getattr(event, "count", 1)
                yield msgspec.structs.replace(event, count=count - 1) if is_range and count > 1 else event

        report = await audit(await forge(world.store, shorten), START, world.clock.now())

        assert [problem for problem, *_ in problems(report)] == ["wrong_count"] * 2  # report, and mail that follows it

    async def test_a_job_that_waits_for_others_from_some_day_on_is_proved_from_then_on(self, world: World) -> None:
        async with world.kernel(*self.jobs) as kernel:
            await world.clock.advance(HOUR)
            await kernel.apply_jobs([*self.jobs[:2], Job(id="report", func=nothing, after=["sync"]), self.jobs[3]])
            await world.clock.advance(HOUR)
        await world.serve(*self.jobs[:2], Job(id="report", func=nothing, after=["sync"]), self.jobs[3])

        report = await world.audit()

        assert report.is_proved
        assert {one.job_id: (one.fires, one.unproved) for one in report.jobs if one.job_id in {"report", "mail"}} == {
            "report": (3 + 6 + 6, []),
            "mail": (3 + 6 + 6, []),
        }


class TestWhatIsOpen:
    async def test_fires_of_a_paused_job_are_held_back(self, world: World) -> None:
        async with world.kernel(job()) as kernel:
            await kernel.pause("sync", actor="ann", reason="holidays")
            await world.clock.advance(HOUR)

        report = await world.audit(decided_until=world.clock.now())

        assert report.is_proved
        assert openings(report) == [("paused", START + 10 * MINUTE, 6)]
        assert "by ann: holidays" in only(report).open[0].detail

    async def test_fires_during_a_hold_are_held_back(self, world: World) -> None:
        async with world.kernel(job(), job("paused")) as kernel:
            await world.clock.advance(HOUR / 2 + MINUTE)
            await kernel.hold(actor="ann", reason="migration")
            await world.clock.advance(HOUR / 2)
            await kernel.pause("paused", actor="bob")
            await world.clock.advance(HOUR)
        reports = [await world.audit(decided_until=world.clock.now()), await world.audit()]
        async with world.kernel(job(), job("paused")):
            pass
        reports.append(await world.audit(decided_until=world.clock.now()))
        async with world.kernel(job(), job("paused")) as kernel:
            await kernel.release()
            await world.clock.advance(MINUTE)
        released = await world.audit(decided_until=world.clock.now())

        held, before = ("held", START + 40 * MINUTE, 9), ("held", START + 40 * MINUTE, 3)
        for report in reports:
            assert report.is_proved
            assert openings(report) == [before, ("paused", START + 70 * MINUTE, 6), held]
            assert "all fires are held back since" in report.jobs[1].open[0].detail
            assert "by ann: migration" in report.jobs[1].open[0].detail
        assert released.is_proved
        assert [one.fires for one in released.jobs] == [3, 12]

    async def test_fires_after_the_last_sign_of_a_kernel_are_not_decided_yet(self, world: World) -> None:
        await world.serve(job(), job("other"))
        await world.clock.advance(HOUR)

        report = await world.audit()

        assert report.is_proved
        assert openings(report) == [("undecided", START + 70 * MINUTE, 6)] * 2

    async def test_a_kernel_that_has_only_begun_to_catch_up_proves_nothing_of_other_jobs(self, world: World) -> None:
        """It comes to the fires of all jobs in their order, so one late decision says how far it has come."""
        back = START + 5 * HOUR
        first = missed(at=START + 4 * HOUR, reason="late", count=4, first=START + HOUR, last=START + 4 * HOUR)
        late = msgspec.structs.replace(first[0], at=back)
        run = msgspec.structs.replace(scheduled(at=START + 5 * HOUR)[0], at=back)
        await world.store.open()
        await append(
            world.store,
            job_added(at=START, cron="0 * * * *"),
            job_added("other", START, cron="30 1 * * *"),
            [late],
            [run],
        )
        world.clock = VirtualClock(back)

        report = await world.audit()

        assert problems(report) == []
        assert openings(report) == [("undecided", START + 90 * MINUTE, 1)]

    async def test_what_was_pruned_is_forgotten_and_no_finding(self, world: World) -> None:
        await world.serve(job(), during=2 * HOUR)
        await world.store.open()
        await world.store.prune(START + HOUR)

        for report in (await world.audit(), await world.audit("sync")):
            assert problems(report) == []
            assert openings(report) == [("forgotten", START + 10 * MINUTE, 5)]
            assert only(report).fires == 7

    async def test_a_trigger_that_is_an_object_in_code_cannot_be_proved(self, world: World) -> None:
        await world.serve(job(trigger=IntervalTrigger(minutes=10, start_date=START)))

        report = await world.audit()

        assert report.is_proved
        assert only(report).fires == 0
        assert only(report).unproved[0].entries > 0
        assert "object in code" in only(report).unproved[0].reason

    async def test_a_schedule_of_another_time_is_not_spoken_of(self, world: World) -> None:
        async with world.kernel(job(trigger=IntervalTrigger(minutes=10, start_date=START))) as kernel:
            await world.clock.advance(HOUR)
            await kernel.apply_jobs([job()])
            await world.clock.advance(HOUR)

        before, after = await world.audit(), await world.audit(since=START + HOUR + MINUTE)

        assert len(only(before).unproved) == 1
        assert only(after).unproved == []
        assert only(after).fires == 6

    async def test_a_random_trigger_cannot_be_proved(self, world: World) -> None:
        await world.serve(job(trigger={"type": "interval", "minutes": 10, "jitter": 5}))

        report = await world.audit()

        assert report.is_proved
        assert "random" in only(report).unproved[0].reason

    async def test_an_interval_that_counts_from_its_making_is_proved_from_its_first_fire_on(self, world: World) -> None:
        first = START + 3 * MINUTE
        log = [
            *job_added(at=START, trigger={"type": "interval", "minutes": 10}),
            *(event for n in range(6) for event in succeeded(at=first + n * 10 * MINUTE)),
        ]
        await world.store.open()
        await append(world.store, log)
        world.clock = VirtualClock(START + HOUR)

        sound = await world.audit()
        forged = await audit(await forge(world.store, without(3)), START, START + HOUR)

        assert (problems(sound), only(sound).fires) == ([], 6)
        assert problems(forged) == [("no_outcome", first + 30 * MINUTE, 1)]


class TestWhatWasForged:
    @pytest.fixture
    async def store(self, world: World) -> MemoryStore:
        """An hour of runs, an hour without a kernel, an hour of runs."""
        await world.serve(job(), job("other"))
        await world.clock.advance(HOUR)
        await world.serve(job(), job("other"))
        return world.store

    async def look(self, store: MemoryStore, change: Callable[[list[Event]], Iterable[Event]]) -> AuditReport:
        forged = await forge(store, change)
        report = await audit(forged, START, START + 3 * HOUR)
        alone = await audit(forged, START, START + 3 * HOUR, ["sync"])
        assert only(report) == only(alone)
        return report

    async def test_a_log_that_is_only_copied_is_proved(self, store: MemoryStore) -> None:
        report = await self.look(store, lambda log: log)

        assert report.is_proved
        assert only(report).fires == 18

    async def test_an_outcome_that_is_gone_is_found(self, store: MemoryStore) -> None:
        report = await self.look(store, without(2))

        assert not report.is_proved
        assert problems(report) == [("no_outcome", START + 30 * MINUTE, 1)]

    async def test_the_span_includes_the_moment_at_which_it_begins(self, store: MemoryStore) -> None:
        forged = await forge(store, without(2))

        at, after = [await audit(forged, START + 30 * MINUTE + n * MINUTE, START + 3 * HOUR) for n in (0, 1)]

        assert problems(at) == [("no_outcome", START + 30 * MINUTE, 1)]
        assert problems(after) == []

    async def test_the_first_outcome_that_is_gone_is_found(self, store: MemoryStore) -> None:
        report = await self.look(store, without(0))

        assert problems(report) == [("no_outcome", START + 10 * MINUTE, 1)]

    async def test_the_last_outcome_is_found_to_be_gone_by_the_fires_of_other_jobs(
        self, world: World, store: MemoryStore
    ) -> None:
        def keep_the_last_of_the_other(log: list[Event]) -> Iterable[Event]:
            gone = {event.stream for event in outcomes(log)[-2:]}
            return [event for event in log if event.stream not in gone]

        report = await self.look(store, keep_the_last_of_the_other)

        assert problems(report) == [("no_outcome", START + 170 * MINUTE, 1)]
        assert openings(report) == [("undecided", START + 180 * MINUTE, 1)]

    async def test_the_last_outcome_is_found_to_be_gone_by_the_word_of_the_kernel(self, store: MemoryStore) -> None:
        forged = await forge(store, without(-1))

        report = await audit(forged, START, START + 3 * HOUR, decided_until=START + 3 * HOUR)

        assert problems(report) == [("no_outcome", START + 3 * HOUR, 1)]

    async def test_a_range_that_is_gone_is_found_with_its_count(self, store: MemoryStore) -> None:
        report = await self.look(store, without(6))

        assert problems(report) == [("no_outcome", START + 70 * MINUTE, 5)]

    async def test_a_second_run_of_a_fire_is_found(self, store: MemoryStore) -> None:
        report = await self.look(store, with_more(twin_of(START + 20 * MINUTE)))

        assert problems(report) == [("two_outcomes", START + 20 * MINUTE, 1)]
        assert "f" * 24 in only(report).findings[0].executions

    async def test_a_run_of_a_fire_within_a_missed_range_is_found(self, store: MemoryStore) -> None:
        report = await self.look(store, with_more(twin_of(START + 90 * MINUTE)))

        assert problems(report) == [("two_outcomes", START + 90 * MINUTE, 1)]

    async def test_a_run_that_is_in_the_log_before_its_time_is_found_and_hides_nothing(
        self, store: MemoryStore
    ) -> None:
        early = msgspec.structs.replace(twin_of(START + 170 * MINUTE), at=START + 20 * MINUTE)

        def insert(log: list[Event]) -> Iterable[Event]:
            place = next(i for i, event in enumerate(log) if event.at > early.at)
            return [*log[:place], early, *log[place:]]

        report = await self.look(store, insert)

        assert problems(report) == [("two_outcomes", START + 170 * MINUTE, 1)]
        assert "is in the log as run at" in only(report).findings[0].detail

    async def test_a_run_at_a_time_that_no_definition_names_is_found(self, store: MemoryStore) -> None:
        strange = [scheduled(at=START + n * MINUTE)[0] for n in (25, 95)]

        report = await self.look(store, with_more(*strange))

        assert [name for name, _, _ in problems(report)] == ["not_named", "not_named"]

    async def test_a_run_of_a_job_that_was_never_added_is_found(self, store: MemoryStore) -> None:
        report = await self.look(store, with_more(*scheduled("ghost", START + HOUR)))

        assert problems(report) == [("not_named", START + HOUR, 1)]

    async def test_a_run_from_before_the_job_was_added_is_found(self, store: MemoryStore) -> None:
        early = msgspec.structs.replace(scheduled(at=START - HOUR)[0], at=START + HOUR)

        report = await self.look(store, with_more(early))

        assert problems(report) == [("not_named", START - HOUR, 1)]

    @pytest.mark.parametrize("count", [4, 6])
    async def test_a_range_that_counts_wrongly_is_found(self, store: MemoryStore, count: int) -> None:
        def miscount(log: list[Event]) -> Iterable[Event]:
            for event in log:
                is_it = isinstance(event, events.Missed) and event.job_id == "sync"
                yield msgspec.structs.replace(event, count=count) if is_it else event

        report = await self.look(store, miscount)

        assert problems(report) == [("wrong_count", START + 70 * MINUTE, count)]

    async def test_a_range_that_ends_where_no_fire_is_is_found(self, store: MemoryStore) -> None:
        def stretch(log: list[Event]) -> Iterable[Event]:
            for event in log:
                is_it = isinstance(event, events.Missed) and event.job_id == "sync"
                yield msgspec.structs.replace(event, last=START + 113 * MINUTE) if is_it else event

        report = await self.look(store, stretch)

        assert problems(report) == [("not_named", START + 70 * MINUTE, 5)]

    async def test_outcomes_in_another_order_are_no_finding(self, store: MemoryStore) -> None:
        def swap(log: list[Event]) -> Iterable[Event]:
            second = outcomes(log)[1].stream
            return [*(e for e in log if e.stream != second), *(e for e in log if e.stream == second)]

        report = await self.look(store, swap)

        assert report.is_proved
        assert only(report).fires == 18

    async def test_fires_of_an_old_schedule_that_were_never_settled_are_found(self, world: World) -> None:
        added = job_added(at=START, cron="*/10 * * * *")
        changed = extend(added, events.JobChanged, after=HOUR, changes={"cron": "0 0 * * *"}, rescheduled=True)
        await world.store.open()
        await append(world.store, changed)

        report = await audit(world.store, START, START + 2 * HOUR)

        assert problems(report) == [("no_outcome", START + 10 * MINUTE, 6)]

    async def test_many_findings_are_counted_and_not_all_told(self, world: World) -> None:
        strange = [msgspec.structs.replace(missed(at=START + n * MINUTE)[0], version=1) for n in range(1, 302, 2)]
        await world.store.open()
        await append(world.store, job_added(at=START, cron="0 0 1 1 *"), strange)

        report = await audit(world.store, START, START + DAY)

        assert (len(only(report).findings), only(report).more_findings) == (100, 51)


async def test_an_unknown_job_is_named_with_one_that_is_spelled_nearly_so(world: World) -> None:
    await world.serve(job())

    with pytest.raises(UnknownJobError, match="did you mean 'sync'"):
        await world.audit("snyc")


async def test_an_empty_log_is_proved(world: World) -> None:
    report = await world.audit()

    assert report.is_proved
    assert report.jobs == []
