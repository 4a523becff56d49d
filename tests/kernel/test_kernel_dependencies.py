"""Jobs that run after others: the same nominal time, retries, failures, pauses, chains and restarts."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from gnomon import (
    Context,
    Duration,
    Event,
    Execution,
    Job,
    JobError,
    Kernel,
    Missed,
    Retry,
    Scheduled,
    Started,
    Succeeded,
)
from gnomon.analysis.audit import audit
from gnomon.analysis.explain import explain
from gnomon.domain.execution import execution_id
from gnomon.errors import GnomonError, StoreError
from gnomon.hookspecs import hookimpl
from gnomon.testing import EventList, RecordingStore, VirtualClock, check_log, make_kernel


class MortalStore(RecordingStore):
    """A store to which a kernel can lose its connection."""

    is_cut = False

    async def append(self, events: Sequence[Event], *views: Any) -> None:
        if self.is_cut:
            raise StoreError("cut")
        await super().append(events, *views)


Make = Callable[..., Kernel]
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class Bodies:
    """Bodies that take 10 minutes and fail as often as told."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.failures: dict[str, int] = {}

    def job(self, name: str, *after: str, **keys: Any) -> Job:
        async def body() -> None:
            await self.clock.sleep(600)
            if self.failures.get(name, 0) > 0:
                self.failures[name] -= 1
                raise ValueError("as told")

        if not after and "every" not in keys:
            keys["cron"] = "0 * * * *"
        return Job(id=name, func=body, after=list(after), **keys)


@pytest.fixture
def bodies(gnomon_clock: VirtualClock) -> Bodies:
    return Bodies(gnomon_clock)


async def run_at(kernel: Kernel, job_id: str, at: datetime) -> Execution:
    return await kernel.execution(execution_id(job_id, at))


def begun(events: EventList) -> list[tuple[str, int]]:
    """Return which bodies began, and in which minute after the first one."""
    first = events.of(Started)[0].at
    return [(event.job_id, round((event.at - first) / MINUTE)) for event in events.of(Started)]


def missed(events: EventList) -> list[tuple[str, str, str | None]]:
    return [(event.job_id, event.reason, event.detail) for event in events.of(Missed)]


async def test_a_job_without_a_schedule_runs_after_the_run_of_the_same_nominal_time(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    async with gnomon_kernel(bodies.job("load"), bodies.job("report", "load"), bodies.job("mail", "report")) as kernel:
        await gnomon_clock.advance(HOUR)
        at = gnomon_clock.now()
        assert (await kernel.job("report")).waiting == [execution_id("report", at)]
        assert kernel.health().waiting == 2
        await gnomon_clock.advance(40 * MINUTE)

        assert begun(gnomon_events) == [("load", 0), ("report", 10), ("mail", 20)]
        assert {event.scheduled_time for event in gnomon_events.of(Scheduled)} == {at}
        assert (await run_at(kernel, "mail", at)).status == "success"
        assert kernel.health().waiting == 0


async def test_a_job_with_a_schedule_of_its_own_waits_at_its_fires(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    report = Job(id="report", func=bodies.job("x").func, cron="0 2 * * *", after=["load"])
    async with gnomon_kernel(bodies.job("load"), report):
        await gnomon_clock.advance(3 * HOUR)

    assert begun(gnomon_events) == [("load", 0), ("load", 60), ("report", 70), ("load", 120)]


async def test_it_waits_for_all_upstream_jobs_and_has_only_the_times_that_they_share(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    hourly, daily = bodies.job("hourly"), Job(id="daily", func=bodies.job("x").func, cron="0 2 * * *")
    async with gnomon_kernel(hourly, daily, bodies.job("report", "hourly", "daily")):
        await gnomon_clock.advance(4 * HOUR)

    assert [name for name in begun(gnomon_events) if name[0] == "report"] == [("report", 70)]
    assert gnomon_events.of(Missed) == []


async def test_the_nominal_time_is_the_one_before_the_jitter(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    spread = Duration(minutes=20)
    load = Job(id="load", func=bodies.job("x").func, cron="0 2 * * *", jitter=spread)
    other = Job(id="other", func=bodies.job("x").func, cron="0 2 * * *", jitter=spread)
    dated = Job(id="dated", func=bodies.job("x").func, cron="0 2 * * *", after=["load"])
    async with gnomon_kernel(load, other, dated, bodies.job("report", "load", "other")) as kernel:
        await gnomon_clock.advance(HOUR * 2)
        found = await explain(kernel._store, "dated", None, gnomon_clock.now())
        assert "It waits for job load, which has not decided about that time yet." in found.sentences
        await gnomon_clock.advance(HOUR)

    assert sorted(event.job_id for event in gnomon_events.of(Started)) == ["dated", "load", "other", "report"]
    ends = {event.job_id: event.at for event in gnomon_events if event.type == "succeeded"}
    begins = {event.job_id: event.at for event in gnomon_events.of(Started)}
    assert begins["load"] != begins["other"]
    assert (begins["dated"], begins["report"]) == (ends["load"], max(ends["load"], ends["other"]))


async def test_it_waits_while_an_upstream_run_is_retried(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    bodies.failures["load"] = 2
    retry = Retry(attempts=3, delay=Duration(minutes=1), backoff=1.0)
    async with gnomon_kernel(bodies.job("load", retry=retry), bodies.job("report", "load")) as kernel:
        await gnomon_clock.advance(HOUR + 11 * MINUTE)
        found = await explain(kernel._store, "report", None, gnomon_clock.now())
        assert "of job load (attempt 2), which started at" in " ".join(found.sentences)
        await gnomon_clock.advance(30 * MINUTE)

    assert begun(gnomon_events) == [("load", 0), ("load", 11), ("load", 22), ("report", 32)]
    assert gnomon_events.of(Missed) == []


@pytest.mark.parametrize("lasts", range(8))
@pytest.mark.parametrize("how", ["retry", "snooze"])
async def test_it_waits_where_an_upstream_run_ends_while_the_store_is_read(
    gnomon_clock: VirtualClock, gnomon_events: EventList, how: str, lasts: int
) -> None:
    class SlowStore(RecordingStore):
        async def execution(self, execution_id: str) -> Execution | None:
            found = await super().execution(execution_id)
            for _ in range(4):
                await asyncio.sleep(0)
            return found

    async def body(ctx: Context) -> None:
        for _ in range(lasts):
            await asyncio.sleep(0)
        if ctx.scheduled_time not in tried:
            tried.add(ctx.scheduled_time)
            if how == "snooze":
                ctx.snooze("1s")
            raise ValueError("once")

    async def quick() -> None: ...

    tried: set[datetime] = set()
    retry = Retry(attempts=2, delay=Duration(seconds=1))
    jobs = [
        Job(id="load", func=body, every=Duration(minutes=1), retry=retry),
        Job(id="report", func=quick, after=["load"]),
    ]
    async with make_kernel(*jobs, store=SlowStore(gnomon_events), clock=gnomon_clock):
        await gnomon_clock.advance(4.5 * MINUTE)

    assert gnomon_events.of(Missed) == []
    assert [event.job_id for event in gnomon_events.of(Succeeded)] == ["load", "report"] * 4


async def test_after_a_failure_for_good_it_is_missed_and_so_are_those_that_wait_for_it(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    bodies.failures["load"] = 1
    async with gnomon_kernel(bodies.job("load"), bodies.job("report", "load"), bodies.job("mail", "report")) as kernel:
        await gnomon_clock.advance(HOUR)
        at = gnomon_clock.now()
        await gnomon_clock.advance(15 * MINUTE)
        load, report = execution_id("load", at), execution_id("report", at)

        assert missed(gnomon_events) == [
            ("report", "dependency", f"run {load} of job load failed (exception)"),
            ("mail", "dependency", f"run {report} of job report was missed (dependency)"),
        ]
        assert [event.blocked_by for event in gnomon_events.of(Missed)] == [load, report]
        found = await explain(kernel._store, "report", None, gnomon_clock.now())
        assert "It did not run: it was missed (dependency)" in " ".join(found.sentences)
        assert f"The kernel says: run {load} of job load failed (exception)." in found.sentences


async def test_an_upstream_run_that_is_cancelled_is_a_reason_too(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    async with gnomon_kernel(bodies.job("load"), bodies.job("report", "load")) as kernel:
        await gnomon_clock.advance(HOUR)
        at = gnomon_clock.now()
        await kernel.cancel(execution_id("load", at), actor="ann")
        await gnomon_clock.advance(MINUTE)

    identity = execution_id("load", at)
    assert missed(gnomon_events) == [("report", "dependency", f"run {identity} of job load was cancelled")]


async def test_a_fire_that_the_upstream_job_missed_is_missed_downstream(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    jobs = bodies.job("load", every=Duration(minutes=5)), bodies.job("report", "load")
    async with gnomon_kernel(*jobs):
        await gnomon_clock.advance(11 * MINUTE)

    (of_load, of_report) = gnomon_events.of(Missed)
    assert (of_load.job_id, of_load.reason, of_report.job_id, of_report.reason) == (
        *("load", "overlap"),
        *("report", "dependency"),
    )
    assert (of_report.scheduled_time, of_report.blocked_by) == (of_load.scheduled_time, of_load.stream)


async def test_a_range_of_fires_missed_by_downtime_is_one_record_downstream_as_well(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    jobs = bodies.job("load"), bodies.job("report", "load")
    async with gnomon_kernel(*jobs):
        await gnomon_clock.advance(90 * MINUTE)
    await gnomon_clock.advance(5 * HOUR)
    async with gnomon_kernel(*jobs) as kernel:
        await gnomon_clock.advance(25 * MINUTE)
        report = await audit(kernel._store, gnomon_clock.now() - 10 * HOUR, gnomon_clock.now())

    of_report = gnomon_events.of(Missed, "report")
    of_load = gnomon_events.of(Missed, "load")
    assert [(e.reason, e.count, e.first, e.last) for e in of_report] == [
        ("dependency", e.count, e.first, e.last) for e in of_load
    ]
    assert [event.job_id for event in gnomon_events.of(Started)] == ["load", "report", "load", "report"]
    assert report.is_proved


async def test_a_fire_at_a_time_that_the_upstream_job_has_not_is_missed_and_says_so(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    report = Job(id="report", func=bodies.job("x").func, cron="30 * * * *", after=["load"])
    async with gnomon_kernel(bodies.job("load"), report):
        await gnomon_clock.advance(80 * MINUTE)

    assert missed(gnomon_events) == [("report", "dependency", "job load has no fire at that time")]


async def test_it_waits_for_a_paused_upstream_job(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    report = Job(id="report", func=bodies.job("x").func, cron="0 * * * *", after=["load"])
    async with gnomon_kernel(bodies.job("load"), report) as kernel:
        await kernel.pause("load")
        await gnomon_clock.advance(70 * MINUTE)
        found = await explain(kernel._store, "report", None, gnomon_clock.now())
        assert "It waits for job load, which is paused." in found.sentences
        await kernel.resume("load")
        await gnomon_clock.advance(30 * MINUTE)

    assert begun(gnomon_events) == [("load", 0), ("report", 10)]


async def test_a_paused_job_without_a_schedule_misses_the_times_of_its_upstream_jobs(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    async with gnomon_kernel(bodies.job("load"), bodies.job("report", "load", paused=True)):
        await gnomon_clock.advance(80 * MINUTE)

    assert missed(gnomon_events) == [("report", "paused", "the job was paused")]


async def test_a_guard_vetoes_a_run_that_follows_another_job(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    class Closed:
        @hookimpl
        def guard(self, job: Job) -> str | None:
            return "closed" if job.id == "report" else None

    async with gnomon_kernel(bodies.job("load"), bodies.job("report", "load"), plugins=[Closed()]):
        await gnomon_clock.advance(80 * MINUTE)

    assert missed(gnomon_events) == [("report", "guard", "closed")]


async def test_manual_runs_wait_for_nothing_and_start_nothing(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    async with gnomon_kernel(bodies.job("load"), bodies.job("report", "load")) as kernel:
        await kernel.trigger("report")
        await kernel.trigger("load")
        await gnomon_clock.advance(30 * MINUTE)

    assert begun(gnomon_events) == [("report", 0), ("load", 0)]


async def test_a_waiting_run_can_be_cancelled(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    async with gnomon_kernel(bodies.job("load"), bodies.job("report", "load")) as kernel:
        await gnomon_clock.advance(HOUR)
        identity = execution_id("report", gnomon_clock.now())
        cancelled = await kernel.cancel(identity, actor="ann")
        assert cancelled.status == "cancelled"
        assert (await kernel.job("report")).waiting == []
        await gnomon_clock.advance(30 * MINUTE)

    assert begun(gnomon_events) == [("load", 0)]


async def test_explain_names_the_run_that_is_waited_for_and_the_one_that_let_it_start(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, bodies: Bodies
) -> None:
    async with gnomon_kernel(bodies.job("load"), bodies.job("report", "load")) as kernel:
        await gnomon_clock.advance(HOUR)
        load = execution_id("load", gnomon_clock.now())
        found = await explain(kernel._store, "report", None, gnomon_clock.now())
        text = " ".join(found.sentences)
        assert f"It waits for run {load} of job load, which started at " in text
        assert "The job has no schedule: it runs after load." in text

        await gnomon_clock.advance(30 * MINUTE)
        found = await explain(kernel._store, "report", None, gnomon_clock.now())
        assert f"after run {load} of job load, which succeeded at " in " ".join(found.sentences)


@pytest.mark.parametrize("minutes", [0, 5, 10])
async def test_a_kernel_that_dies_leaves_nothing_that_the_next_one_does_not_continue(
    gnomon_clock: VirtualClock, bodies: Bodies, minutes: int
) -> None:
    store = MortalStore()
    retry = Retry(attempts=2, delay=Duration(minutes=1), backoff=1.0)
    jobs = bodies.job("load", retry=retry), bodies.job("report", "load"), bodies.job("mail", "report")
    kernel = make_kernel(*jobs, store=store, clock=gnomon_clock)
    await kernel.__aenter__()
    await gnomon_clock.advance(HOUR + 5 * MINUTE)
    store.is_cut = True
    await kernel.__aexit__(RuntimeError, RuntimeError("crash"), None)
    store.is_cut = False
    await gnomon_clock.advance(minutes * MINUTE)
    async with make_kernel(*jobs, store=store, clock=gnomon_clock):
        await gnomon_clock.advance(40 * MINUTE)

    ended = [event.job_id for event in store.recorded if event.type == "succeeded"]
    assert ended == ["load", "report", "mail"]
    assert begun(store.recorded) == [
        ("load", 0),
        ("load", minutes + 6),
        ("report", minutes + 16),
        ("mail", minutes + 26),
    ]
    check_log(store.recorded, store._executions.values(), store._jobs.values())


async def test_a_time_that_was_decided_just_before_the_kernel_died_is_followed_by_the_next_one(
    gnomon_kernel: Make, gnomon_clock: VirtualClock, gnomon_events: EventList, bodies: Bodies
) -> None:
    load = bodies.job("load")
    async with gnomon_kernel(load, bodies.job("report", "load")) as kernel:
        kernel._leader._dependencies._note_fire = lambda event: None  # type: ignore[method-assign]
        await gnomon_clock.advance(80 * MINUTE)
        assert gnomon_events.of(Scheduled, "report") == []
    async with gnomon_kernel(load, bodies.job("report", "load")):
        await gnomon_clock.advance(15 * MINUTE)

    assert begun(gnomon_events) == [("load", 0), ("report", 20)]


# --- changes of `after`


@pytest.mark.parametrize("policy", ["latest", "all"])
@pytest.mark.parametrize(
    "order", ["change, resume", "both at once", "there and back", "back at once", "resume, change"]
)
async def test_a_job_that_follows_another_one_from_now_on_has_no_outcomes_at_earlier_times(
    gnomon_clock: VirtualClock, order: str, policy: Any
) -> None:
    store, begin = RecordingStore(), gnomon_clock.now()

    def job(name: str, **keys: Any) -> Job:
        return Job(id=name, func=quick, **keys)

    def jobs(*after: str) -> list[Job]:
        half_hourly = job("b", every=Duration(minutes=30), catch_up=policy, overlap="queue")
        return [job("a", every=Duration(hours=1)), half_hourly, job("d", after=list(after), overlap="queue")]

    async with make_kernel(*jobs("a"), store=store, clock=gnomon_clock) as kernel:
        await kernel.pause("b")
        await gnomon_clock.advance(4 * HOUR + 5 * MINUTE)
        to_a, to_b, resume = jobs("a"), jobs("b"), kernel.resume
        if order == "change, resume":
            await kernel.apply_jobs(to_b)
            await gnomon_clock.advance(HOUR)
            await resume("b")
        elif order == "both at once":
            await asyncio.gather(kernel.apply_jobs(to_b), resume("b"))
        elif order == "there and back":
            await kernel.apply_jobs(to_b)
            await resume("b")
            await kernel.apply_jobs(to_a)
        elif order == "back at once":
            await kernel.apply_jobs(to_b)
            await asyncio.gather(resume("b"), kernel.apply_jobs(to_a))
        else:
            await resume("b")
            await kernel.apply_jobs(to_b)
        await gnomon_clock.advance(HOUR + 30 * MINUTE)
        report = await audit(store, begin, gnomon_clock.now(), decided_until=gnomon_clock.now())

    found = {one.job_id: one for one in report.jobs}
    assert [(one.problem, one.detail) for one in found["d"].findings] == []
    assert (found["d"].open, found["d"].unproved) == ([], [])
    fires = [event.scheduled_time for event in store.recorded.of(Scheduled, "d")]
    fires += [event.first_fire for event in store.recorded.of(Missed, "d")]
    assert len(fires) == len(set(fires))


async def test_a_range_that_ends_with_its_schedule_is_cut_where_a_job_began_to_follow(
    gnomon_clock: VirtualClock,
) -> None:
    store, begin = RecordingStore(), gnomon_clock.now()

    def jobs(minutes: int, upstream: str) -> list[Job]:
        a = Job(id="a", func=quick, every=Duration(minutes=minutes))
        return [a, Job(id="b", func=quick, every=Duration(hours=1)), Job(id="d", func=quick, after=[upstream])]

    async with make_kernel(*jobs(30, "b"), store=store, clock=gnomon_clock) as kernel:
        await kernel.pause("a")
        await gnomon_clock.advance(2 * HOUR + 5 * MINUTE)
        await kernel.apply_jobs(jobs(30, "a"))
        await gnomon_clock.advance(2 * HOUR)
        await kernel.apply_jobs(jobs(60, "a"))
        await gnomon_clock.advance(MINUTE)
        report = await audit(store, begin, gnomon_clock.now())

    (missed_by_d,) = store.recorded.of(Missed, "d")
    assert (missed_by_d.first_fire, missed_by_d.last_fire, missed_by_d.count) == (
        begin + 2.5 * HOUR,
        begin + 4 * HOUR,
        4,
    )
    assert report.is_proved


async def test_a_job_added_with_a_single_fire_that_is_due_already_is_followed(gnomon_clock: VirtualClock) -> None:
    store = RecordingStore()
    async with make_kernel(store=store, clock=gnomon_clock) as kernel:
        once = Job(id="once", func=quick, at=gnomon_clock.now() - HOUR)
        await kernel.add_jobs([once, Job(id="then", func=quick, after=["once"])], temporary=True)
        await gnomon_clock.advance(MINUTE)
        report = await audit(store, gnomon_clock.now() - 2 * HOUR, gnomon_clock.now())

    assert [event.job_id for event in store.recorded.of(Started)] == ["once", "then"]
    assert report.is_proved
    assert {one.job_id: one.fires for one in report.jobs} == {"once": 1, "then": 1}


async def quick() -> None:
    pass


# --- what is refused


async def test_unknown_upstream_jobs_circles_and_jobs_without_times_are_refused(
    gnomon_kernel: Make, bodies: Bodies
) -> None:
    load = bodies.job("load")
    manual = Job(id="manual", func=load.func)
    cases = [
        ([load, bodies.job("report", "lode")], "after names 'lode', and there is no such job; did you mean 'load'"),
        ([load, bodies.job("report", "load", "load")], "after names 'load' twice"),
        ([bodies.job("report", "report")], "after names the job itself"),
        ([manual, bodies.job("report", "manual")], "after names 'manual', which has no schedule"),
        ([bodies.job("a", "b"), bodies.job("b", "c"), bodies.job("c", "a")], "after makes a circle: a after b after c"),
    ]
    for jobs, problem in cases:
        with pytest.raises(GnomonError, match=problem):
            async with gnomon_kernel(*jobs, store=RecordingStore()):
                pass
    async with gnomon_kernel(load) as kernel:
        with pytest.raises(JobError, match="there is no such job"):
            await kernel.apply_jobs([load, bodies.job("report", "lode")])
        await kernel.add_job(bodies.job("report", "load"), temporary=True)
        with pytest.raises(JobError, match="after makes a circle"):
            await kernel.apply_jobs([bodies.job("load", "report")])


async def test_orders_for_jobs_keep_what_others_wait_for(gnomon_kernel: Make, bodies: Bodies) -> None:
    load, report = bodies.job("load"), bodies.job("report", "load")
    async with gnomon_kernel() as kernel:
        with pytest.raises(JobError, match="after names 'load', and there is no such job"):
            await kernel.add_job(report, temporary=True)
        await kernel.add_jobs([report, load], temporary=True)
        with pytest.raises(JobError, match="after makes a circle"):
            await kernel.add_job(bodies.job("load", "report"), temporary=True, replace=True)
        with pytest.raises(JobError, match="'report' start after it"):
            await kernel.remove_job("load")
        assert [view.job.id for view in await kernel.jobs()] == ["load", "report"]
        await kernel.remove_job("report")
        await kernel.remove_job("load")
