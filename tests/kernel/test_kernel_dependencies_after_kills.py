"""Jobs with `after` over the death of a kernel: each nominal time of the upstream jobs has exactly one outcome."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from gnomon import Duration, Event, Job, Missed, Scheduled
from gnomon.analysis.audit import audit
from gnomon.errors import StoreError
from gnomon.testing import RecordingStore, VirtualClock, check_log, make_kernel

HOUR = timedelta(hours=1)


class MortalStore(RecordingStore):
    """A store to which a kernel loses its connection after some more appends."""

    appends_left: float = float("inf")

    async def append(self, events: Sequence[Event], *views: Any) -> None:
        if self.appends_left <= 0:
            raise StoreError("cut")
        await super().append(events, *views)
        self.appends_left -= 1


class SlowFollowing(MortalStore):
    """Dies before the first outcome of one job after the restart is written: its upstream job has moved on."""

    victim: str | None = None

    async def append(self, events: Sequence[Event], *views: Any) -> None:
        if any(event.job_id == self.victim and isinstance(event, Scheduled | Missed) for event in events):
            self.appends_left = 0
        await super().append(events, *views)


async def nothing() -> None:
    pass


def hourly(name: str, **keys: Any) -> Job:
    return Job(id=name, func=nothing, cron="0 * * * *", **keys)


def after(name: str, *upstream: str) -> Job:
    return Job(id=name, func=nothing, after=list(upstream))


async def die(jobs: Iterable[Job], store: MortalStore, clock: VirtualClock, lasting: timedelta) -> None:
    """Run a kernel that the store leaves at some moment, as SIGKILL would."""
    kernel = make_kernel(*jobs, store=store, clock=clock)
    try:
        await kernel.__aenter__()
    except StoreError:
        return
    await clock.advance(lasting)
    store.appends_left = 0
    await kernel.__aexit__(RuntimeError, RuntimeError("crash"), None)


def nominal_times(events: Iterable[Event], job_id: str) -> Counter[datetime]:
    """Return how many outcomes each fire of an hourly job has."""
    found: Counter[datetime] = Counter()
    for event in events:
        if event.job_id != job_id or not isinstance(event, Scheduled | Missed) or not event.is_fire:
            continue
        first, last = event.scheduled_time, event.scheduled_time
        if isinstance(event, Missed):
            first, last = event.first_fire, event.last_fire
        found.update(first + n * HOUR for n in range((last - first) // HOUR + 1))
    return found


async def expect_one_outcome_each(store: RecordingStore, clock: VirtualClock, *job_ids: str, of: str) -> None:
    expected = nominal_times(store.recorded, of)
    assert set(expected.values()) == {1}
    assert {job_id: nominal_times(store.recorded, job_id) for job_id in job_ids} == dict.fromkeys(job_ids, expected)
    await store.open(read_only=True)
    report = await audit(store, clock.now() - timedelta(days=2), clock.now())
    assert report.is_proved
    assert {one.job_id: one.fires for one in report.jobs} == dict.fromkeys((of, *job_ids), len(expected))
    assert [one.unproved for one in report.jobs if one.unproved] == []
    check_log(store.recorded, store._executions.values(), store._jobs.values())


@pytest.mark.parametrize("policy", ["all", "latest"])
@pytest.mark.parametrize("victim", ["report", "mail"])
async def test_a_kernel_that_dies_before_it_followed_a_backlog_leaves_all_of_it_to_the_next_one(
    gnomon_clock: VirtualClock, policy: str, victim: str
) -> None:
    store = SlowFollowing()
    jobs = hourly("load", catch_up=policy, overlap="allow"), after("report", "load"), after("mail", "report")
    async with make_kernel(*jobs, store=store, clock=gnomon_clock):
        await gnomon_clock.advance(2 * HOUR)
    await gnomon_clock.advance(5 * HOUR)
    store.victim = victim
    await die(jobs, store, gnomon_clock, 2 * HOUR)
    store.victim, store.appends_left = None, float("inf")
    async with make_kernel(*jobs, store=store, clock=gnomon_clock):
        await gnomon_clock.advance(2 * HOUR)

    await expect_one_outcome_each(store, gnomon_clock, "report", "mail", of="load")


@pytest.mark.parametrize("appends", range(14))
async def test_whatever_append_a_kernel_dies_after_each_time_has_one_outcome(
    gnomon_clock: VirtualClock, appends: int
) -> None:
    store = MortalStore()
    jobs = (
        hourly("load", catch_up="all", overlap="allow"),
        after("report", "load"),
        after("mail", "report", "load"),
    )
    async with make_kernel(*jobs, store=store, clock=gnomon_clock):
        await gnomon_clock.advance(2 * HOUR)
    for _ in range(2):
        await gnomon_clock.advance(3 * HOUR)
        store.appends_left = appends
        await die(jobs, store, gnomon_clock, 3 * HOUR)
    store.appends_left = float("inf")
    async with make_kernel(*jobs, store=store, clock=gnomon_clock):
        await gnomon_clock.advance(HOUR)

    await expect_one_outcome_each(store, gnomon_clock, "report", "mail", of="load")


@pytest.mark.parametrize("policies", [("latest", "latest"), ("all", "latest"), ("latest", "all"), ("all", "none")])
async def test_times_that_several_upstream_jobs_missed_together_have_an_outcome_each(
    gnomon_clock: VirtualClock, policies: tuple[str, str]
) -> None:
    store = RecordingStore()
    one, other = policies
    jobs = (
        hourly("load", catch_up=one, overlap="allow"),
        hourly("other", catch_up=other, overlap="allow"),
        after("report", "load", "other"),
    )
    for _ in range(3):
        async with make_kernel(*jobs, store=store, clock=gnomon_clock):
            await gnomon_clock.advance(2 * HOUR)
        await gnomon_clock.advance(5 * HOUR)
    async with make_kernel(*jobs, store=store, clock=gnomon_clock):
        await gnomon_clock.advance(timedelta(minutes=1))

    assert nominal_times(store.recorded, "other") == nominal_times(store.recorded, "load")
    await expect_one_outcome_each(store, gnomon_clock, "report", "other", of="load")


async def test_a_job_that_shares_few_times_with_its_upstream_jobs_has_those_after_a_kill(
    gnomon_clock: VirtualClock,
) -> None:
    store = SlowFollowing()
    jobs = (
        hourly("load", catch_up="all", overlap="allow", jitter=Duration(minutes=20)),
        Job(id="rare", func=nothing, cron="0 */3 * * *", catch_up="all", overlap="allow"),
        after("report", "load", "rare"),
    )
    async with make_kernel(*jobs, store=store, clock=gnomon_clock):
        await gnomon_clock.advance(7 * HOUR)
    await gnomon_clock.advance(12 * HOUR)
    store.victim = "report"
    await die(jobs, store, gnomon_clock, 2 * HOUR)
    store.victim, store.appends_left = None, float("inf")
    async with make_kernel(*jobs, store=store, clock=gnomon_clock):
        await gnomon_clock.advance(HOUR)

    assert nominal_times(store.recorded, "report") == nominal_times(store.recorded, "rare")
    await store.open(read_only=True)
    report = await audit(store, gnomon_clock.now() - timedelta(days=2), gnomon_clock.now())
    assert report.is_proved
    assert [one.unproved for one in report.jobs if one.unproved] == []
