"""Random lives of a kernel: whatever happens, every fire has exactly one outcome and all views are what the log tells.

The fires that are expected are computed here, by counting and by the wall clock, from what was done: without the
kernel's triggers and without its log.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import count, takewhile
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from fault_runs import rounds
from gnomon import Cancelled, Duration, Event, Execution, Job, Kernel, Retry, Scheduled, current
from gnomon.analysis.audit import audit
from gnomon.domain.execution import fold
from gnomon.domain.job_state import JobState
from gnomon.errors import JobError, JobExistsError, StoreError, UnknownJobError
from gnomon.testing import RecordingStore, VirtualClock, check_log, make_kernel
from gnomon.testing.clock import START
from gnomon.testing.log_checks import fire_ranges

MINUTE, HOUR, MICROSECOND = timedelta(minutes=1), timedelta(hours=1), timedelta(microseconds=1)
CLOCK_JUMP = timedelta(seconds=5)
JOBS = ("a", "b")
ADDED = ("x", "y")
"""Jobs that only orders add, change and remove."""
GROUPS: dict[str, Any] = {"narrow": 1, "slow": {"rate": "2/15m"}}


# --- what is expected


class Schedule(msgspec.Struct, frozen=True):
    """A schedule of one of three kinds, in minutes: every so many, at wall times that so many divide, or once."""

    kind: str
    minutes: int

    def keys(self) -> dict[str, Any]:
        if self.kind == "every":
            return {"every": Duration(minutes=self.minutes)}
        if self.kind == "cron":
            return {"cron": f"*/{self.minutes} * * * *"}
        return {"at": START + self.minutes * MINUTE}

    def fires(self, anchor: datetime, newest: datetime | None) -> Iterator[datetime]:
        """Count the fires after the anchor."""
        if self.kind == "every":
            return (anchor + n * self.minutes * MINUTE for n in count(1))
        if self.kind == "cron":
            hour = anchor.replace(minute=0, second=0, microsecond=0)
            minutes = (hour + n * MINUTE for n in count())
            return (one for one in minutes if one > anchor and one.minute % self.minutes == 0)
        once = START + self.minutes * MINUTE
        return iter([once] if newest is None or once > newest else [])


class Expectation:
    """The fires of one job that must have an outcome by now."""

    def __init__(self) -> None:
        self.fires: list[datetime] = []
        self.schedule: Schedule | None = None
        self.anchor = START
        self.is_paused = False
        self.ahead = timedelta()
        self._before: list[datetime] = []

    @property
    def newest(self) -> datetime | None:
        return self.fires[-1] if self.fires else None

    def begin(self, schedule: Schedule | None, now: datetime) -> None:
        """Put a schedule in place of the one before, whose fires up to now are decided by that."""
        self.decide(now)
        self.schedule, self._before = schedule, self.fires
        self.anchor = max(now, self.newest or now)
        self.enter(now)

    def enter(self, now: datetime) -> None:
        """Enter a kernel's timetable: an interval whose last fire is in the future begins again after its length."""
        mine = self.fires[len(self._before) :]
        ahead = (mine[-1] if mine else self.anchor) - now
        is_interval = self.schedule is not None and self.schedule.kind == "every"
        self.ahead = ahead if is_interval and ahead > CLOCK_JUMP else timedelta()

    def jump(self, by: timedelta) -> None:
        """Set the clock: an interval in the timetable keeps its pace where it is set back."""
        is_interval = self.schedule is not None and self.schedule.kind == "every"
        if abs(by) > CLOCK_JUMP and is_interval and not self.is_paused and (self.ahead or by < timedelta()):
            self.ahead = max(self.ahead - by, timedelta())

    def decide(self, now: datetime) -> None:
        """Record that a kernel has looked at that moment."""
        self.decide_until(now + self.ahead)

    def decide_until(self, last: datetime) -> None:
        if self.schedule is None:
            return
        newest = self._before[-1] if self._before else None
        due = [*takewhile(lambda fire: fire <= last, self.schedule.fires(self.anchor, newest))]
        # A clock that was set back takes nothing away from what was decided before.
        self.fires = max([*self._before, *due], self.fires, key=len)


def check_fires(log: Sequence[Event], job_id: str, expected: Sequence[datetime]) -> None:
    left = list(expected)
    for first, last, number in fire_ranges(log, job_id):
        taken, left = left[:number], left[number:]
        assert taken, f"job {job_id} fired at {first}, which nobody expected"
        found = (taken[0], taken[-1], len(taken))
        assert found == (first, last, number), f"job {job_id}: {taken} became {first}..{last}"
    assert not left, f"fires of job {job_id} have no outcome: {left}"


# --- what is done


class MortalStore(RecordingStore):
    """A store to which a kernel can lose its connection for ever."""

    is_cut = False

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        await asyncio.sleep(0)
        if self.is_cut:
            raise StoreError("cut")
        await super().append(events, executions, jobs)


async def added_body(seconds: int, *, fails: bool, naps: int = 0) -> None:
    """Run as a job of the log, which finds it by its name."""
    await World.present.body(seconds, fails=fails, naps=naps)


class World:
    """A kernel, its clock and its log; the kernel may be another one at any time."""

    present: "World"

    def __init__(self) -> None:
        World.present = self
        self.added: dict[str, Job] = {}
        self.temporary: set[str] = set()
        self.clock = VirtualClock()
        self.store = MortalStore()
        self.jobs: dict[str, Job] = {}
        self.expected = {job_id: Expectation() for job_id in (*JOBS, *ADDED)}
        self.kernel: Kernel
        self.triggered = 0
        self.is_held = False

    async def body(self, seconds: int, *, fails: bool, naps: int = 0) -> None:
        await self.clock.sleep(seconds)
        if current().snoozes < naps:
            current().snooze("7m")
        if fails:
            raise ValueError("as told")

    async def start(self) -> None:
        settings: dict[str, Any] = {"clock": self.clock, "store": self.store, "max_running": 2, "groups": GROUPS}
        self.kernel = make_kernel(*self.definitions(), **settings)
        for expected in self.expected.values():
            expected.enter(self.clock.now())
        self.keep_held()
        await self.kernel.__aenter__()
        await self.looked()

    async def stop(self) -> None:
        await self.kernel.__aexit__(None, None, None)

    async def crash(self) -> None:
        self.store.is_cut = True
        await self.kernel.__aexit__(RuntimeError, RuntimeError("crash"), None)
        self.store.is_cut = False

    async def looked(self) -> None:
        """Wait until the kernel is idle: it has then decided about all due fires."""
        await self.clock.settle()
        for job_id in (*self.jobs, *self.added):
            if not self.expected[job_id].is_paused and not self.is_held:
                self.expected[job_id].decide(self.clock.now())
        self.keep_held()
        present = {view.job.id for view in await self.kernel.jobs()}
        assert present - set(self.jobs) <= set(self.added)
        for job_id in set(self.added) - present:  # it has removed itself
            assert self.added[job_id].at is not None
            assert not self.added[job_id].keep
            self.forget(job_id)
        assert not any(
            job.at is not None and job.keep is False and self.is_spent(job.id) for job in self.added.values()
        )

    def keep_held(self) -> None:
        """Note that a held job is in no timetable, so that no interval of it keeps its pace."""
        if self.is_held:
            for expected in self.expected.values():
                expected.ahead = timedelta()

    def is_spent(self, job_id: str) -> bool:
        """Return whether the only fire of a job is decided and nothing of it runs or waits."""
        expected, at = self.expected[job_id], self.added[job_id].at
        busy = any(view.job_id == job_id and not view.is_over for view in self.kernel._leader._journal.live.values())
        return not expected.is_paused and not self.is_held and not busy and at is not None and at <= self.clock.now()

    def forget(self, job_id: str) -> None:
        """Note that an added job is gone."""
        del self.added[job_id]
        self.temporary.discard(job_id)
        self.expected[job_id].begin(None, self.clock.now())

    def end_temporary(self) -> None:
        for job_id in list(self.temporary):
            self.expected[job_id].ahead = timedelta()
            self.forget(job_id)

    def define(self, job_id: str, schedule: Schedule | None, policies: dict[str, Any]) -> None:
        """Record a definition and the fires that follow from it."""
        expected, is_new = self.expected[job_id], job_id not in self.jobs
        if is_new or expected.schedule != schedule:
            expected.begin(schedule, self.clock.now())
        if is_new:
            expected.is_paused = policies.get("paused", False)
        keys = schedule.keys() if schedule is not None else {}
        given = {key: value for key, value in policies.items() if key != "is_last"}
        after = ["a"] if job_id == "b" and schedule is not None and policies.get("is_last") else []
        self.jobs[job_id] = Job(id=job_id, func=self.body, after=after, **keys, **given)

    def definitions(self) -> list[Job]:
        """Return the jobs; b may wait for a while that is there and has a schedule."""
        is_chain = "a" in self.jobs and self.jobs["a"].has_schedule
        return [
            msgspec.structs.replace(job, after=[]) if job.after and not is_chain else job for job in self.jobs.values()
        ]

    def undefine(self, job_id: str) -> None:
        if self.jobs.pop(job_id, None) is not None:
            self.expected[job_id].begin(None, self.clock.now())

    def check(self) -> None:
        check_log(self.store.recorded, self.store._executions.values(), self.store._jobs.values())
        for job_id, expected in self.expected.items():
            check_fires(self.store.recorded, job_id, expected.fires)
        for identity, view in self.kernel._leader._journal.live.items():
            assert view == fold(event for event in self.store.recorded if event.stream == identity)
        assert self.kernel._leader._journal.jobs == {
            i: state for i, state in self.store._jobs.items() if not state.removed
        }
        assert self.kernel.health().store_state == "healthy"  # starts are late after a jump of the clock
        running = [view for view in self.kernel._leader._journal.live.values() if view.status == "running"]
        assert self.kernel.health().running == len(running)
        manual = [event for event in self.store.recorded.of(Scheduled) if event.is_manual and event.attempt == 1]
        assert len([event for event in manual if event.cause is None]) == self.triggered
        self.check_backfills()
        accepted = {event.stream for event in self.store.recorded.of(Scheduled)}
        assert accepted >= {end.snoozed_to for end in self.store.recorded.of(Cancelled) if end.snoozed_to is not None}

    def check_backfills(self) -> None:
        """Check that each order makes at most one run for a time."""
        made = [
            (event.job_id, event.request_digest, event.scheduled_time)
            for event in self.store.recorded.of(Scheduled)
            if event.cause == "backfill" and event.attempt == 1
        ]
        assert len(made) == len(set(made))

    async def prove(self) -> None:
        """Compare with the audit, which reads only the log."""
        now = self.clock.now()
        report = await audit(self.store, now - timedelta(days=60), now, decided_until=None if self.is_held else now)
        assert report.is_proved, [(job.job_id, job.findings) for job in report.jobs if job.findings]

    # operations, by name

    async def wait(self, minutes: int) -> None:
        await self.clock.advance(minutes * MINUTE)

    async def jump(self, minutes: int) -> None:
        for expected in self.expected.values():
            expected.jump(minutes * MINUTE)
        self.keep_held()
        await self.clock.jump(minutes * MINUTE)

    async def add(self, job_id: str, schedule: Schedule | None, policies: dict[str, Any], how: str) -> None:
        keys = {key: value for key, value in policies.items() if key != "is_last"} | (
            schedule.keys() if schedule else {}
        )
        job = Job(id=job_id, func=added_body, keep=how == "keep", **keys)
        if job_id in self.added:
            with pytest.raises(JobExistsError):
                await self.kernel.add_job(job)
            return
        await self.kernel.add_job(job, temporary=how == "temporary")
        self.added[job_id] = job
        if how == "temporary":
            self.temporary.add(job_id)
        self.expected[job_id].begin(schedule, self.clock.now())
        self.expected[job_id].is_paused = job.paused

    async def change(self, job_id: str, schedule: Schedule | None, policies: dict[str, Any]) -> None:
        if job_id not in self.added:
            return
        none = dict.fromkeys(("every", "cron", "at"))
        keys = {key: value for key, value in policies.items() if key not in {"is_last", "paused"}}
        self.added[job_id] = await self.kernel.change_job(job_id, **none | keys | (schedule.keys() if schedule else {}))
        if self.expected[job_id].schedule != schedule:
            self.expected[job_id].begin(schedule, self.clock.now())

    async def remove(self, job_id: str) -> None:
        if job_id in self.added:
            await self.kernel.remove_job(job_id)
            self.forget(job_id)

    async def pause(self, job_id: str) -> None:
        if job_id in self.jobs or job_id in self.added:
            await self.kernel.pause(job_id)
            self.expected[job_id].is_paused, self.expected[job_id].ahead = True, timedelta()

    async def resume(self, job_id: str) -> None:
        if job_id in self.jobs or job_id in self.added:
            await self.kernel.resume(job_id)
            self.resumed(job_id)

    async def trigger(self, job_id: str, resume: bool) -> None:
        if job_id in self.jobs or job_id in self.added:
            self.triggered += not (await self.kernel.trigger(job_id, resume=resume)).joined
            if resume:
                self.resumed(job_id)

    def resumed(self, job_id: str) -> None:
        if self.expected[job_id].is_paused:
            self.expected[job_id].is_paused = False
            self.expected[job_id].enter(self.clock.now())

    async def hold(self) -> None:
        await self.kernel.hold()
        self.is_held = True
        self.keep_held()

    async def release(self) -> None:
        if await self.kernel.release():
            self.is_held = False
            for expected in self.expected.values():
                if not expected.is_paused:
                    expected.enter(self.clock.now())

    async def skip(self, job_id: str, undo: bool) -> None:
        with contextlib.suppress(UnknownJobError, JobError):  # it has no fire to come
            await self.kernel.skip(job_id, undo=undo)

    async def backfill(self, job_id: str, minutes: int, overlap: bool, rerun: bool) -> None:
        now = self.clock.now()
        with contextlib.suppress(UnknownJobError, JobError):  # it has no fires then, or a backfill already
            await self.kernel.backfill(job_id, now - minutes * MINUTE, now, overlap=overlap, rerun=rerun)

    async def cancel(self, number: int) -> None:
        live = [view for view in self.kernel._leader._journal.live.values() if not view.is_over]
        if live:
            await self.kernel.cancel(live[number % len(live)].id)

    async def reload(self, job_id: str, schedule: Schedule | None, policies: dict[str, Any] | None) -> None:
        if policies is None:
            self.undefine(job_id)
        else:
            self.define(job_id, schedule, policies)
        await self.kernel.apply_jobs(self.definitions())

    async def restart(self, minutes: int, definition: tuple[str, Schedule | None, dict[str, Any]] | None) -> None:
        await self.stop()
        for expected in self.expected.values():
            expected.ahead = timedelta()
        self.end_temporary()
        await self._come_back(minutes, definition)

    async def fall(self, minutes: int, turns: int, definition: Any) -> None:
        """Crash in the middle of whatever goes on."""
        passing = asyncio.ensure_future(self.clock.advance(20 * MINUTE))
        for _ in range(turns):
            await asyncio.sleep(0)
        await self.crash()
        passing.cancel()
        await asyncio.gather(passing, return_exceptions=True)
        for job_id, expected in self.expected.items():  # how far a kernel came before it died is only in the log
            if expected.ahead and (ranges := fire_ranges(self.store.recorded, job_id)):
                expected.decide_until(ranges[-1][1])
            expected.ahead = timedelta()
        await self._come_back(minutes, definition)

    async def _come_back(self, minutes: int, definition: Any) -> None:
        await self.clock.advance(minutes * MINUTE)
        if definition is not None:
            self.define(*definition)
        self.end_temporary()
        await self.start()


schedules = st.one_of(
    st.builds(Schedule, st.just("every"), st.integers(5, 40)),
    st.builds(Schedule, st.just("cron"), st.sampled_from([5, 10, 20, 30])),
    st.builds(Schedule, st.just("at"), st.integers(0, 200)),
    st.none(),
)
policies = st.fixed_dictionaries(
    {
        "kwargs": st.fixed_dictionaries(
            {"seconds": st.sampled_from([0, 30, 500, 2000]), "fails": st.booleans()},
            optional={"naps": st.integers(1, 2)},
        )
    },
    optional={
        "catch_up": st.sampled_from(["latest", "all", "none"]),
        "grace": st.sampled_from([Duration(minutes=1), Duration(minutes=30)]),
        "overlap": st.sampled_from(["skip", "queue", "cancel_previous", "allow"]),
        "max_instances": st.integers(1, 3),
        "retry": st.sampled_from([Retry(attempts=2), Retry(attempts=3, delay=Duration(), backoff=1.0)]),
        "group": st.sampled_from(["narrow", "slow"]),
        "priority": st.integers(-1, 1),
        "is_last": st.just(True),
        "timeout": st.just(Duration(minutes=10)),
        "debounce": st.just(Duration(minutes=3)),
        "paused": st.booleans(),
    },
)
QUICK: dict[str, Any] = {"kwargs": {"seconds": 0, "fails": False}}
job_ids = st.sampled_from(JOBS)
added_ids = st.sampled_from(ADDED)
any_ids = st.sampled_from((*JOBS, *ADDED))
definitions = st.none() | st.tuples(job_ids, schedules, policies)
operations = st.one_of(
    st.tuples(st.just("wait"), st.integers(0, 90)),
    st.tuples(st.just("wait"), st.integers(0, 90)),
    st.tuples(st.just("jump"), st.integers(-120, 300)),
    st.tuples(st.just("pause"), any_ids),
    st.tuples(st.just("resume"), any_ids),
    st.tuples(st.just("trigger"), any_ids, st.booleans()),
    st.tuples(st.just("add"), added_ids, schedules, policies, st.sampled_from(["", "", "keep", "temporary"])),
    st.tuples(st.just("change"), added_ids, schedules, policies),
    st.tuples(st.just("remove"), added_ids),
    st.tuples(st.just("hold")),
    st.tuples(st.just("release")),
    st.tuples(st.just("release")),
    st.tuples(st.just("skip"), any_ids, st.booleans()),
    st.tuples(st.just("backfill"), any_ids, st.integers(0, 120), st.booleans(), st.booleans()),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("reload"), job_ids, schedules, st.none() | policies),
    st.tuples(st.just("restart"), st.integers(0, 90), definitions),
    st.tuples(st.just("fall"), st.integers(0, 90), st.integers(0, 300), definitions),
)


async def live(first: list[tuple[str, Schedule | None, dict[str, Any]]], moves: list[tuple[Any, ...]]) -> None:
    world = World()
    for definition in {one[0]: one for one in first}.values():
        world.define(*definition)
    await world.start()
    try:
        for name, *arguments in moves:
            await getattr(world, name)(*arguments)
            await world.looked()
            world.check()
            await world.prove()
        for job_id in JOBS:
            world.undefine(job_id)
        await world.kernel.apply_jobs([])
        for job_id in list(world.added):
            await world.remove(job_id)
        await world.clock.advance(2 * HOUR)
        world.check()
        await world.prove()
        assert all(view.is_over for view in world.store._executions.values())
    finally:
        await world.stop()


@pytest.mark.any_python
@pytest.mark.timeout(400)  # it takes seconds, but minutes where it has found something and looks for the shortest life
@settings(max_examples=rounds(short=100, long=400))
@given(
    st.lists(st.tuples(job_ids, schedules, policies), min_size=1, max_size=2),
    st.lists(operations, min_size=5, max_size=15),
)
@example(  # the clock is set back, and the schedule that is changed then counts from the newest fire, which is to come
    first=[("b", Schedule("every", 6), QUICK)],
    moves=[("wait", 6), ("jump", -6), ("reload", "b", Schedule("every", 5), QUICK), ("restart", 5, None)],
)
@example(  # the only fire of the new schedule lies before the newest one of the old, and does not come
    first=[("a", Schedule("every", 30), QUICK)],
    moves=[("wait", 120), ("jump", -20), ("reload", "a", Schedule("at", 91), QUICK), ("wait", 5)],
)
@example(  # the newest fire of the old schedule was recorded before its time, by a clock that was set back
    first=[("b", Schedule("every", 15), QUICK)],
    moves=[("jump", -128), ("fall", 45, 224, None), ("restart", 83, ("b", Schedule("at", 6), QUICK)), ("wait", 31)],
)
def test_whatever_happens_every_fire_has_one_outcome_and_the_views_are_the_log(
    first: list[tuple[str, Schedule | None, dict[str, Any]]], moves: list[tuple[Any, ...]]
) -> None:
    with capture_logs():
        asyncio.run(live(first, moves))
