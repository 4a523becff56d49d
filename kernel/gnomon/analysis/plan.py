"""What a reload, or a start with another config, would change: computed beforehand by the code that does it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

import msgspec

from gnomon.domain.events import KernelStarted
from gnomon.domain.job_state import JobState
from gnomon.domain.secret_references import masked_like
from gnomon.jobs.definition import rebuild_job
from gnomon.jobs.diff import JobsDiff, difference, is_rescheduled
from gnomon.jobs.ended_schedules import find_end
from gnomon.jobs.groups import Groups
from gnomon.jobs.registered import RegisteredJob
from gnomon.ports import Store
from gnomon.scheduling.catch_up import Absence, Backlog, MissedRange, fires, undecided
from gnomon.scheduling.triggers import AnchoredTrigger, is_predictable
from gnomon.stores.fire_samples import FireSamples, Sample, moved_fires, sample_key
from gnomon.stores.reading import newest_kernel_fact
from gnomon.stores.schedule_versions import present_versions

Action = Literal["add", "change", "remove", "keep"]

SHOWN = 5
"""Fires that are listed one by one; the others are only counted."""
BATCH = 10_000
"""Fires of a backlog that are decided together: with catch_up = "all" each of them takes memory."""


class Fires(msgspec.Struct):
    """Fires within the period of a plan: how many, and the first few."""

    count: int = 0
    first: list[datetime] = []

    def add(self, fire: datetime) -> None:
        """Count one more fire."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(fire)


class Change(msgspec.Struct, frozen=True):
    """A key of a definition whose value changes; None stands for a key that is not given."""

    key: str
    old: Any
    new: Any


class MovedFire(msgspec.Struct, frozen=True):
    """A fire that is at another time now; None where there was none, or is none any more."""

    old: datetime | None
    new: datetime | None


class MovedFires(msgspec.Struct):
    """Fires of a sample that have moved: how many, and the first few."""

    count: int = 0
    first: list[MovedFire] = []


class JobPlan(msgspec.Struct, kw_only=True):
    """What happens to one job.

    `gained` and `lost` are future fires. `moved` are fires of an unchanged schedule that the versions of zone data,
    cronsim or APScheduler in this process move, from a sample of those that the last kernel had computed. `catch_up`
    are past fires that run as soon as a kernel keeps time, `missed` past fires that never will. `notes` say why a
    figure is less than certain.
    """

    job_id: str
    action: Action
    changes: list[Change] = []
    is_rescheduled: bool = False
    is_paused: bool = False
    gained: Fires = msgspec.field(default_factory=Fires)
    lost: Fires = msgspec.field(default_factory=Fires)
    moved: MovedFires = msgspec.field(default_factory=MovedFires)
    catch_up: Fires = msgspec.field(default_factory=Fires)
    missed: list[MissedRange] = []
    notes: list[str] = []


class Plan(msgspec.Struct, frozen=True):
    """What happens to the jobs, with fires up to `until`; jobs to which nothing happens are left out.

    `upgrades` are the versions of what computes fires that differ from those of the last kernel, `groups` the limits
    of groups that do.
    """

    now: datetime
    until: datetime
    jobs: list[JobPlan]
    upgrades: list[Change] = []
    groups: list[Change] = []

    def of(self, action: Action) -> list[JobPlan]:
        """List the jobs with this action."""
        return [job for job in self.jobs if job.action == action]

    @property
    def changes_nothing(self) -> bool:
        """Whether all definitions and groups equal those in the log; past fires may still have to be caught up."""
        return len(self.of("keep")) == len(self.jobs) and not self.groups


def plan(
    states: Iterable[JobState],
    jobs: Iterable[RegisteredJob],
    now: datetime,
    days: float = 7,
    samples: FireSamples | None = None,
) -> Plan:
    """Compare the jobs in the log with the complete set of jobs of a start or reload, and look `days` ahead.

    Jobs that were added at run time stay as they are, as do those of an attached scheduler; those that `jobs` has show
    their catch-up, or their problem.
    `samples` are those in the log: fires that the last kernel had computed.
    """
    wanted = {registered.job.id: registered for registered in jobs}
    others = {"api", "attached"}
    known = {
        state.job_id: state for state in states if state.origin not in others or state.removed or state.job_id in wanted
    }
    found = difference(known, {job_id: registered.definition for job_id, registered in wanted.items()})
    until = now + timedelta(days=days)
    kept = sorted(wanted.keys() & known.keys() - found.changed.keys() - set(found.added))
    plans = [
        *(_added(wanted[job_id], known.get(job_id), now, until) for job_id in found.added),
        *(_changed(known[job_id], wanted[job_id], found, now, until) for job_id in found.changed),
        *(_removed(known[job_id], now, until) for job_id in found.removed),
        *(_kept(known[job_id], wanted[job_id], now) for job_id in kept),
    ]
    upgrades = _upgrades(samples) if samples is not None else []
    if samples is not None and (upgrades or "unknown" in samples.versions.values()):
        _note_moved([one for one in plans if one.action in {"change", "keep"}], wanted, samples, now)
    return Plan(now, until, [one for one in plans if one.action != "keep" or _does_something(one)], upgrades)


async def changed_groups(store: Store, groups: Groups, now: datetime) -> list[Change]:
    """Return the groups whose limits differ from those of the last kernel; it read them when it started."""
    started = await newest_kernel_fact(store, now, lambda fact: isinstance(fact, KernelStarted) and fact.keeps_time)
    if not isinstance(started, KernelStarted):
        return []
    old, new = (
        {name: {key: value for key, value in one.items() if value is not None} for name, one in limits.items()}
        for limits in (started.groups, {name: msgspec.to_builtins(group) for name, group in groups.items()})
    )
    pairs = [(name, old.get(name), new.get(name)) for name in sorted(old.keys() | new.keys())]
    return [Change(name, *pair) for name, *pair in pairs if pair[0] != pair[1]]


def _upgrades(samples: FireSamples) -> list[Change]:
    present = present_versions()
    names = sorted(present.keys() | samples.versions.keys())
    pairs = [(name, samples.versions.get(name), present.get(name)) for name in names]
    return [Change(name, old, new) for name, old, new in pairs if old != new]


def _note_moved(plans: Iterable[JobPlan], jobs: dict[str, RegisteredJob], samples: FireSamples, now: datetime) -> None:
    """Compare the sampled fires of each schedule from now on with those that this process computes."""
    moved: dict[str, MovedFires] = {}  # jobs share schedules
    for planned in plans:
        registered = jobs[planned.job_id]
        key = sample_key(planned.job_id, registered.definition, registered.trigger)
        sample = samples.samples.get(key) if key is not None and not planned.is_rescheduled else None
        if key is None or sample is None or registered.trigger is None:
            continue
        if key not in moved:
            moved[key] = _moved(registered.trigger, sample, now)
        planned.moved = moved[key]


def _moved(trigger: AnchoredTrigger, sample: Sample, now: datetime) -> MovedFires:
    pairs = [MovedFire(old, new) for old, new in moved_fires(trigger, sample)]
    found = [one for one in pairs if max(fire for fire in (one.old, one.new) if fire is not None) >= now]
    return MovedFires(len(found), found[:SHOWN])


def _does_something(planned: JobPlan) -> bool:
    return bool(planned.catch_up.count or planned.missed or planned.moved.count or planned.notes)


def _added(registered: RegisteredJob, state: JobState | None, now: datetime, until: datetime) -> JobPlan:
    planned = JobPlan(job_id=registered.job.id, action="add", is_paused=registered.job.paused)
    if (trigger := registered.trigger) is not None:
        _note_random(planned, trigger)
        _note_end(planned, registered, now)
        newest = state.newest_fire if state is not None else None
        planned.gained = _counted(trigger, now, until, newest)  # type: ignore[arg-type]  # all of ours have a hash
    return planned


@lru_cache(maxsize=1024)  # 10,000 new jobs share few schedules: one by one their two million fires take 10 s
def _counted(trigger: AnchoredTrigger, now: datetime, until: datetime, newest: datetime | None) -> Fires:
    found = Fires()
    for fire in _fires_from_now(trigger, now, until, newest):
        found.add(fire)
    return found


def _changed(state: JobState, registered: RegisteredJob, found: JobsDiff, now: datetime, until: datetime) -> JobPlan:
    changes = found.changed[state.job_id]
    planned = JobPlan(
        job_id=state.job_id,
        action="change",
        changes=[Change(key, masked_like(state.definition.get(key), new), new) for key, new in changes.items()],
        is_rescheduled=is_rescheduled(changes, registered.definition),
        is_paused=state.paused,
    )
    if planned.is_rescheduled:
        _note_end(planned, registered, now)
        new_fires = _new_fires(planned, registered.trigger, state, now, until)
        compare_fires(_old_fires(planned, state, now, until), new_fires, planned.lost, planned.gained)
    else:
        _catch_up(planned, state, registered, now)
    return planned


def _removed(state: JobState, now: datetime, until: datetime) -> JobPlan:
    planned = JobPlan(job_id=state.job_id, action="remove", is_paused=state.paused)
    for fire in _old_fires(planned, state, now, until):
        planned.lost.add(fire)
    return planned


def _kept(state: JobState, registered: RegisteredJob, now: datetime) -> JobPlan:
    planned = JobPlan(job_id=state.job_id, action="keep", is_paused=state.paused)
    if registered.problem is not None:
        planned.notes.append(f"it cannot run, and its fires are held: {registered.problem}")
    _catch_up(planned, state, registered, now)
    return planned


def _new_fires(
    planned: JobPlan, trigger: AnchoredTrigger | None, state: JobState, now: datetime, until: datetime
) -> Iterator[datetime]:
    """Iterate over the fires of a schedule that begins now and replaces another one."""
    if trigger is None:
        return iter(())
    _note_random(planned, trigger)
    return _fires_from_now(trigger, now, until, state.newest_fire)


def _note_random(planned: JobPlan, trigger: AnchoredTrigger) -> None:
    if not is_predictable(trigger):
        planned.notes.append(f"the new schedule is random ({trigger}): its fires are an example")


def _note_end(planned: JobPlan, registered: RegisteredJob, now: datetime) -> None:
    if (end := find_end(registered.job, registered.trigger, now)) is not None:
        planned.notes.append(f"{end.key}: {end.text}")


def _fires_from_now(
    trigger: AnchoredTrigger, now: datetime, until: datetime, newest_fire: datetime | None
) -> Iterator[datetime]:
    return fires(trigger, None, max(now, newest_fire or now), until, newest_fire)


def _old_fires(planned: JobPlan, state: JobState, now: datetime, until: datetime) -> Iterator[datetime]:
    """Iterate over the future fires of the schedule in the log, and note its past fires as missed."""
    rebuilt = rebuild_job(state.definition)
    if rebuilt.problem is not None:
        planned.notes.append(f"the lost fires of the old schedule are not known: {rebuilt.problem}")
    if rebuilt.problem is not None or rebuilt.trigger is None:
        return iter(())
    planned.missed = undecided(rebuilt.trigger, state, now)
    last_fire = planned.missed[-1].last if planned.missed else state.last_fire
    return fires(rebuilt.trigger, last_fire, state.anchor, until, state.newest_fire)


def compare_fires(old_fires: Iterator[datetime], new_fires: Iterator[datetime], lost: Fires, gained: Fires) -> None:
    """Merge the fires of two schedules in order of time: those of one alone are lost or gained."""
    old, new = next(old_fires, None), next(new_fires, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old < new):
            lost.add(old)  # type: ignore[arg-type]  # one of them is left, and it is not the new one
            old = next(old_fires, None)
        elif old is None or new < old:
            gained.add(new)
            new = next(new_fires, None)
        else:
            old, new = next(old_fires, None), next(new_fires, None)


def _catch_up(planned: JobPlan, state: JobState, registered: RegisteredJob, now: datetime) -> None:
    """Decide about past fires as the timetable does when a kernel starts now."""
    job, trigger = registered.job, registered.trigger
    if trigger is None or state.paused:
        return
    due = fires(trigger, state.last_fire, state.anchor, now, state.newest_fire)
    missed: list[MissedRange] = []
    backlog = Backlog(job.catch_up, job.grace, Absence(down_until=now))
    while batch := list(islice(due, BATCH)):
        for fire in batch:
            backlog.add(fire)
        if job.catch_up == "all":
            _note_decision(planned, missed, backlog, now)
            backlog = Backlog(job.catch_up, job.grace, Absence(down_until=now))
    _note_decision(planned, missed, backlog, now)
    planned.missed = _joined(missed)


def _note_decision(planned: JobPlan, missed: list[MissedRange], backlog: Backlog, now: datetime) -> None:
    decision = backlog.decide(now)
    for fire in decision.run:
        planned.catch_up.add(fire)
    missed += decision.missed


def _joined(ranges: list[MissedRange]) -> list[MissedRange]:
    """Join neighbouring ranges with the same reason."""
    joined: list[MissedRange] = []
    for one in ranges:
        if joined and joined[-1].reason == one.reason:
            before = joined.pop()
            joined.append(MissedRange(one.reason, before.first, one.last, before.count + one.count))
        else:
            joined.append(one)
    return joined
