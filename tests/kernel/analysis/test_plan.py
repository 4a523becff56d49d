"""The plan says before what a reload or a start does after."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler.triggers.interval import IntervalTrigger
from structlog.testing import capture_logs

from gnomon import SecretReference
from gnomon.analysis import plan as plan_module
from gnomon.analysis.plan import Change, JobPlan, MovedFire, Plan, changed_groups, plan
from gnomon.domain import events
from gnomon.durations import Duration
from gnomon.engine import fire_sampler
from gnomon.errors import JobExistsError
from gnomon.jobs.durable import restore_jobs
from gnomon.jobs.groups import convert_groups
from gnomon.jobs.job import Job
from gnomon.jobs.registered import register_job
from gnomon.kernel import Kernel
from gnomon.scheduling.cron import CronTrigger
from gnomon.stores import schedule_versions
from gnomon.stores.fire_samples import read_samples
from gnomon.stores.memory import MemoryStore
from gnomon.stores.schedule_versions import present_versions
from gnomon.testing.clock import START, VirtualClock

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


async def nothing(**_: Any) -> None:
    pass


def job(id: str = "sync", **keys: Any) -> Job:
    keys = {"cron": "0 2 * * *"} | keys if not {"every", "at", "trigger"} & set(keys) else keys
    keys.setdefault("timezone", "UTC")
    return Job(id=id, func=nothing, **keys)


class World:
    """A log, a clock, and one kernel after the other."""

    def __init__(self) -> None:
        self.clock = VirtualClock(START)
        self.store = MemoryStore()

    def kernel(self, *jobs: Job) -> Kernel:
        kernel = Kernel(store=self.store, jobs=jobs, clock=self.clock, node="a", drain=timedelta())
        self.clock.is_idle = lambda: kernel.is_idle
        return kernel

    async def serve(self, *jobs: Job, during: timedelta = HOUR) -> None:
        async with self.kernel(*jobs):
            await self.clock.advance(during)

    async def plan(self, *jobs: Job, days: float = 7) -> Plan:
        await self.store.open(read_only=True)
        registered, samples = [register_job(one, "UTC") for one in jobs], await read_samples(self.store)
        return plan(await self.store.jobs(), registered, self.clock.now(), days, samples)

    async def outcomes(self) -> list[events.Event]:
        await self.store.open()
        return [e for e in await self.store.read(0, 100_000) if isinstance(e, events.Scheduled | events.Missed)]


@pytest.fixture
def world() -> World:
    return World()


def only(found: Plan) -> JobPlan:
    (one,) = found.jobs
    return one


async def test_an_empty_log_makes_all_jobs_new(world: World) -> None:
    found = await world.plan(job())

    assert only(found).action == "add"
    assert only(found).gained.count == 7
    assert only(found).gained.first == [START + 2 * HOUR + n * DAY for n in range(5)]


async def test_groups_that_a_start_would_change_are_shown(world: World) -> None:
    async def changed(groups: dict[str, Any]) -> list[Change]:
        await world.store.open(read_only=True)
        return await changed_groups(world.store, convert_groups(groups), world.clock.now() + HOUR)

    assert await changed({"api": 1}) == []  # no kernel has started, so nothing is there to be changed
    async with Kernel(store=world.store, clock=world.clock, groups={"api": {"limit": 1, "rate": "5/m"}, "old": 2}):
        await world.clock.settle()
    found = await changed({"api": 3, "new": {"rate": "1/s"}})

    assert await changed({"api": {"limit": 1, "rate": "5/m"}, "old": 2}) == []
    assert found == [
        Change("api", {"limit": 1, "rate": "5/m"}, {"limit": 3}),
        Change("new", None, {"rate": "1/s"}),
        Change("old", {"limit": 2}, None),
    ]
    assert not Plan(START, START, [], groups=found).changes_nothing


async def test_the_same_jobs_change_nothing(world: World) -> None:
    await world.serve(job(), job("other", every=Duration(seconds=10)))

    found = await world.plan(job(), job("other", every=Duration(seconds=10)))

    assert found.changes_nothing
    assert found.jobs == []


async def test_another_schedule_is_told_key_by_key_with_the_fires_that_come_and_go(world: World) -> None:
    await world.serve(job(cron="0 */2 * * *"))

    found = await world.plan(job(cron="0 */3 * * *", timeout=Duration(hours=1)), days=1)

    assert not found.changes_nothing
    assert only(found).is_rescheduled
    assert only(found).changes == [Change("cron", "0 */2 * * *", "0 */3 * * *"), Change("timeout", None, "1h")]
    assert [fire.hour for fire in only(found).gained.first] == [3, 9, 15, 21]
    assert only(found).lost.count == 8
    assert [fire.hour for fire in only(found).lost.first] == [2, 4, 8, 10, 14]


async def test_another_policy_moves_no_fire(world: World) -> None:
    await world.serve(job())

    found = await world.plan(job(overlap="queue"))

    assert only(found).action == "change"
    assert not only(found).is_rescheduled
    assert (only(found).gained.count, only(found).lost.count) == (0, 0)


async def test_a_policy_that_is_given_as_it_is_by_default_is_no_change(world: World) -> None:
    await world.serve(job())

    assert (await world.plan(job(cancel_grace=Duration(seconds=10)))).changes_nothing


async def test_a_job_that_goes_away_loses_its_fires(world: World) -> None:
    await world.serve(job())

    found = await world.plan()

    assert (only(found).action, only(found).lost.count) == ("remove", 7)


async def test_a_removed_job_is_not_removed_again_and_may_come_back(world: World) -> None:
    await world.serve(job())
    await world.serve()

    assert (await world.plan()).changes_nothing
    assert only(await world.plan(job())).action == "add"


async def test_a_paused_job_is_marked(world: World) -> None:
    async with world.kernel(job()) as kernel:
        await kernel.pause("sync")

    found = await world.plan(job(cron="0 3 * * *"))

    assert only(found).is_paused


async def test_what_cannot_be_told_is_noted(world: World) -> None:
    await world.serve(job(trigger=IntervalTrigger(minutes=10, start_date=START)))

    found = await world.plan(job(trigger={"type": "interval", "minutes": 10, "jitter": 3}))

    assert any("object in code" in note for note in only(found).notes)
    assert any("random" in note for note in only(found).notes)


@pytest.mark.parametrize("catch_up", ["latest", "all", "none"])
async def test_the_catch_up_that_is_planned_is_the_one_that_comes(world: World, catch_up: str) -> None:
    await world.serve(job(every=Duration(minutes=7), catch_up=catch_up))
    await world.clock.advance(5 * HOUR)

    found = await world.plan(job(every=Duration(minutes=7), catch_up=catch_up))
    before = len(await world.outcomes())
    await world.serve(job(every=Duration(minutes=7), catch_up=catch_up), during=timedelta())
    told = (await world.outcomes())[before:]

    assert found.changes_nothing
    assert only(found).catch_up.count == sum(isinstance(event, events.Scheduled) for event in told)
    assert [(one.first, one.last, one.count) for one in only(found).missed] == [
        (event.first or event.scheduled_time, event.last or event.scheduled_time, event.count)
        for event in told
        if isinstance(event, events.Missed)
    ]


async def test_the_fires_that_are_planned_are_those_that_come(world: World) -> None:
    new = job(every=Duration(minutes=50))
    async with world.kernel(job()) as kernel:
        await world.clock.advance(HOUR)
        states = [view.state for view in await kernel.jobs()]
        planned = plan(states, [register_job(new, "UTC")], world.clock.now(), 1)
        before = len(await world.outcomes())
        await kernel.apply_jobs([new])
        await world.clock.advance(DAY)
    fired = [event.scheduled_time for event in (await world.outcomes())[before:] if isinstance(event, events.Scheduled)]

    assert only(planned).gained.count == len(fired) == 28
    assert only(planned).gained.first == fired[:5]


async def test_fires_of_the_past_that_a_change_settles_are_told(world: World) -> None:
    await world.serve(job(cron="*/10 * * * *"))
    await world.clock.advance(HOUR)

    found = await world.plan(job(cron="*/20 * * * *"))

    assert [(one.reason, one.count) for one in only(found).missed] == [("downtime", 6)]
    assert only(found).lost.first[0] > world.clock.now()


def test_a_long_backlog_is_counted_without_being_kept() -> None:
    from gnomon.testing.histories import job_added, job_states

    every = job(every=Duration(seconds=1), catch_up="all")
    states = job_states(job_added("sync", START, **every.definition()))

    found = plan(states, [register_job(every, "UTC")], datetime(2026, 1, 1, 8, tzinfo=UTC))

    assert only(found).catch_up.count == 8 * 3600
    assert len(only(found).catch_up.first) == 5


async def test_a_plan_shows_no_plain_secret_that_becomes_a_reference() -> None:
    world = World()
    await world.serve(job(kwargs={"token": "plain", "market": "cn", "logins": [{"password": "old"}]}))

    reference = SecretReference(env="TOKEN")
    found = await world.plan(job(kwargs={"token": reference, "market": "us", "logins": [{"password": reference}]}))

    (change,) = found.jobs[0].changes
    kept = {"$secret": {"env": "TOKEN"}}
    assert change.old == {"token": "***", "market": "cn", "logins": [{"password": "***"}]}
    assert change.new == {"token": kept, "market": "us", "logins": [{"password": kept}]}


# --- upgrades of zone data, cronsim and APScheduler ---


class OtherVersions:
    """Replaces the versions in this process; with `later` cron jobs fire at another time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def upgrade(self, later: timedelta = timedelta(), package: str = "zone data") -> None:
        versions = present_versions() | {package: "2099z"}
        for module in (schedule_versions, fire_sampler, plan_module):
            self._monkeypatch.setattr(module, "present_versions", lambda: versions)
        if later:
            original = CronTrigger.fire_after

            def moved(self: CronTrigger, after: Any, anchor: Any) -> Any:
                fire = original(self, after, anchor)
                return fire + later if fire is not None and fire.month >= 3 else fire

            self._monkeypatch.setattr(CronTrigger, "fire_after", moved)


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> OtherVersions:
    return OtherVersions(monkeypatch)


async def test_fires_that_an_upgrade_moves_are_shown_although_nothing_else_changes(
    world: World, versions: OtherVersions
) -> None:
    before = present_versions()["zone data"]
    await world.serve(job(), job("other"), job("steady", every=Duration(hours=1)))
    versions.upgrade(HOUR)

    found = await world.plan(job(), job("other"), job("steady", every=Duration(hours=1)), days=1)

    assert found.upgrades == [Change("zone data", before, "2099z")]
    assert found.changes_nothing
    assert [(one.job_id, one.action) for one in found.jobs] == [("other", "keep"), ("sync", "keep")]
    moved = found.jobs[1].moved
    march = datetime(2026, 3, 5, 2, tzinfo=UTC)  # nine weeks after the start, the first sampled fire in March
    assert moved.first[0] == MovedFire(march, march + HOUR)
    assert moved.count == 44


async def test_an_upgrade_that_moves_nothing_is_named_alone(world: World, versions: OtherVersions) -> None:
    await world.serve(job())
    versions.upgrade(package="cronsim")

    found = await world.plan(job())

    assert [change.key for change in found.upgrades] == ["cronsim"]
    assert found.jobs == []


async def test_once_a_kernel_has_started_with_it_an_upgrade_is_past(world: World, versions: OtherVersions) -> None:
    await world.serve(job())
    versions.upgrade(HOUR)
    with capture_logs() as logs:
        await world.serve(job())

    found = await world.plan(job())

    assert (found.upgrades, found.jobs) == ([], [])
    (warned,) = (line for line in logs if line["event"] == "an upgrade has moved fires")
    assert (warned["job"], warned["log_level"]) == ("sync", "warning")


async def test_a_schedule_that_changes_has_no_moved_fires(world: World, versions: OtherVersions) -> None:
    await world.serve(job())
    versions.upgrade(HOUR)

    (planned,) = (await world.plan(job(cron="0 3 * * *"))).jobs

    assert planned.is_rescheduled
    assert planned.moved.count == 0


async def test_fires_of_a_trigger_of_apscheduler_are_sampled_too(
    world: World, versions: OtherVersions, monkeypatch: pytest.MonkeyPatch
) -> None:
    daily = job(trigger={"type": "calendarinterval", "days": 1, "hour": 5})
    await world.serve(daily)
    versions.upgrade(package="apscheduler")
    monkeypatch.setattr("gnomon.scheduling.calendar_interval.CalendarIntervalTrigger.fire_after", lambda *_: None)

    (planned,) = (await world.plan(daily)).jobs

    assert planned.moved.first[0].new is None


async def test_jobs_that_were_added_at_run_time_stay_and_show_their_problem_and_their_catch_up() -> None:
    world = World()
    clock, store = world.clock, world.store
    async with world.kernel() as kernel:
        await kernel.add_job(Job(id="added", func=f"{__name__}:nothing", every=Duration(hours=1)))
        await kernel.add_job(Job(id="broken", func=f"{__name__}:nothing", every=Duration(hours=1)))
        kernel._leader._journal.record(events.JobChanged, "job:broken", "broken", changes={"func": "no.such:function"})
    await clock.advance(timedelta(hours=3, minutes=1))
    async with store:
        states = await store.jobs()

    restored = restore_jobs(states, [])
    found = {one.job_id: one for one in plan(states, restored, clock.now()).jobs}
    without = plan(states, [], clock.now())

    assert {one.action for one in found.values()} == {"keep"}
    assert found["added"].catch_up.count == 1
    assert "cannot run" in found["broken"].notes[0]
    assert without.jobs == []
    with pytest.raises(JobExistsError, match="'added' was added at run time, and the program defines"):
        restore_jobs(states, [register_job(Job(id="added", func=nothing), "UTC")])


async def test_jobs_of_an_attached_scheduler_are_left_to_it() -> None:
    async with Kernel(store=(store := MemoryStore()), jobs=[job()]) as kernel:
        attached = await kernel.attach_scheduler("APScheduler")
        await attached.put_job(job("theirs"), paused=False, next_fire=None)
        await kernel.sync_attached()
        found = plan(await store.jobs(), [register_job(job(), "UTC")], kernel.clock.now())

    assert [(one.job_id, one.action) for one in found.jobs if one.job_id == "theirs"] == []
