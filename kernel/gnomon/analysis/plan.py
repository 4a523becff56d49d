"""What a reload, or a start with another config, would do: told before it is done, by the code that does it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

import msgspec

from gnomon.domain.job_state import JobState
from gnomon.engine.job_registry import SCHEDULE_KEYS
from gnomon.jobs.definition import build_schedule
from gnomon.jobs.diff import JobsDiff, difference
from gnomon.jobs.job import Job
from gnomon.scheduling.catch_up import Absence, Backlog, MissedRange, fires, undecided
from gnomon.scheduling.triggers import Trigger, is_predictable

Action = Literal["add", "change", "remove", "keep"]

SHOWN = 5
"""Fires that are told one by one; the others are counted."""
AT_ONCE = 10_000
"""Fires of a backlog that are decided together: with catch_up = "all" each needs room."""


class Fires(msgspec.Struct):
    """Fires in the time that is looked at: how many, and the first few."""

    count: int = 0
    first: list[datetime] = []

    def add(self, fire: datetime) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(fire)


class Change(msgspec.Struct, frozen=True):
    """A key of a definition with another value; None is one that is not given."""

    key: str
    old: Any
    new: Any


class JobPlan(msgspec.Struct, kw_only=True):
    """What becomes of one job.

    `gained` and `lost` are fires to come, `catch_up` those of the past that run as soon as a kernel keeps time, and
    `missed` those of the past that never will. `notes` tell what makes the figures less than certain.
    """

    job_id: str
    action: Action
    changes: list[Change] = []
    is_rescheduled: bool = False
    is_paused: bool = False
    gained: Fires = msgspec.field(default_factory=Fires)
    lost: Fires = msgspec.field(default_factory=Fires)
    catch_up: Fires = msgspec.field(default_factory=Fires)
    missed: list[MissedRange] = []
    notes: list[str] = []


class Plan(msgspec.Struct, frozen=True):
    """What becomes of the jobs, with fires up to `until`; `jobs` has only those of which there is something to tell."""

    now: datetime
    until: datetime
    jobs: list[JobPlan]

    def of(self, action: Action) -> list[JobPlan]:
        """List the jobs to which this happens."""
        return [job for job in self.jobs if job.action == action]

    @property
    def changes_nothing(self) -> bool:
        """Whether the log knows all jobs as they are; fires of the past may be caught up all the same."""
        return len(self.of("keep")) == len(self.jobs)


def plan(states: Iterable[JobState], jobs: Iterable[Job], now: datetime, days: float = 7) -> Plan:
    """Compare the jobs that the log knows with the complete definitions of a deployment, and look `days` ahead."""
    known, wanted = {state.job_id: state for state in states}, {job.id: job for job in jobs}
    found, until = difference(known, {job.id: job.definition() for job in wanted.values()}), now + timedelta(days=days)
    kept = sorted(wanted.keys() & known.keys() - found.changed.keys() - set(found.added))
    plans = [
        *(_added(wanted[job_id], known.get(job_id), now, until) for job_id in found.added),
        *(_changed(known[job_id], wanted[job_id], found, now, until) for job_id in found.changed),
        *(_removed(known[job_id], now, until) for job_id in found.removed),
        *(one for job_id in kept if (one := _kept(known[job_id], wanted[job_id], now)) is not None),
    ]
    return Plan(now, until, plans)


def _added(job: Job, state: JobState | None, now: datetime, until: datetime) -> JobPlan:
    planned = JobPlan(job_id=job.id, action="add", is_paused=job.paused)
    if (trigger := job.build_trigger()) is not None:
        _note_random(planned, trigger)
        newest = state.newest_fire if state is not None else None
        planned.gained = _counted(trigger, now, until, newest)  # type: ignore[arg-type]  # all of ours have a hash
    return planned


@lru_cache(maxsize=1024)  # of 10,000 jobs that are new many have one schedule: 10 s for two million fires one by one
def _counted(trigger: Trigger, now: datetime, until: datetime, newest: datetime | None) -> Fires:
    found = Fires()
    for fire in _anew(trigger, now, until, newest):
        found.add(fire)
    return found


def _changed(state: JobState, job: Job, found: JobsDiff, now: datetime, until: datetime) -> JobPlan:
    changes = found.changed[job.id]
    planned = JobPlan(
        job_id=job.id,
        action="change",
        changes=[Change(key, state.definition.get(key), new) for key, new in changes.items()],
        is_rescheduled=not SCHEDULE_KEYS.isdisjoint(changes),
        is_paused=state.paused,
    )
    if planned.is_rescheduled:
        after = _fires_anew(planned, job.build_trigger(), state, now, until)
        _compare(planned, _fires_so_far(planned, state, now, until), after)
    else:
        _catch_up(planned, state, job, now)
    return planned


def _removed(state: JobState, now: datetime, until: datetime) -> JobPlan:
    planned = JobPlan(job_id=state.job_id, action="remove", is_paused=state.paused)
    for fire in _fires_so_far(planned, state, now, until):
        planned.lost.add(fire)
    return planned


def _kept(state: JobState, job: Job, now: datetime) -> JobPlan | None:
    planned = JobPlan(job_id=job.id, action="keep", is_paused=state.paused)
    _catch_up(planned, state, job, now)
    return planned if planned.catch_up.count or planned.missed else None


def _fires_anew(
    planned: JobPlan, trigger: Trigger | None, state: JobState, now: datetime, until: datetime
) -> Iterator[datetime]:
    """Iterate over the fires of a schedule that begins now, in place of another."""
    if trigger is None:
        return iter(())
    _note_random(planned, trigger)
    return _anew(trigger, now, until, state.newest_fire)


def _note_random(planned: JobPlan, trigger: Trigger) -> None:
    if not is_predictable(trigger):
        planned.notes.append(f"the new schedule is random ({trigger}): its fires are an example")


def _anew(trigger: Trigger, now: datetime, until: datetime, newest: datetime | None) -> Iterator[datetime]:
    return fires(trigger, None, max(now, newest or now), until, newest)


def _fires_so_far(planned: JobPlan, state: JobState, now: datetime, until: datetime) -> Iterator[datetime]:
    """Iterate over the fires to come of the schedule that the log knows; those of the past are missed."""
    _, trigger, problem = build_schedule(state.definition)
    if problem is not None:
        planned.notes.append(f"what is lost of the old schedule cannot be told: {problem}")
    if trigger is None:
        return iter(())
    planned.missed = undecided(trigger, state, now)
    last_fire = planned.missed[-1].last if planned.missed else state.last_fire
    return fires(trigger, last_fire, state.anchor, until, state.newest_fire)


def _compare(planned: JobPlan, before: Iterator[datetime], after: Iterator[datetime]) -> None:
    """Go through the fires of two schedules side by side: those of one alone are lost or gained."""
    old, new = next(before, None), next(after, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old < new):
            planned.lost.add(old)  # type: ignore[arg-type]  # one of them is left, and it is not the new one
            old = next(before, None)
        elif old is None or new < old:
            planned.gained.add(new)
            new = next(after, None)
        else:
            old, new = next(before, None), next(after, None)


def _catch_up(planned: JobPlan, state: JobState, job: Job, now: datetime) -> None:
    """Decide about the fires of the past as the timetable does when a kernel starts now."""
    trigger = job.build_trigger()
    if trigger is None or state.paused:
        return
    due = fires(trigger, state.last_fire, state.anchor, now, state.newest_fire)
    missed: list[MissedRange] = []
    backlog = Backlog(job.catch_up, job.grace, Absence(down_until=now))
    while some := list(islice(due, AT_ONCE)):
        for fire in some:
            backlog.add(fire)
        if job.catch_up == "all":
            _note(planned, missed, backlog, now)
            backlog = Backlog(job.catch_up, job.grace, Absence(down_until=now))
    _note(planned, missed, backlog, now)
    planned.missed = _folded(missed)


def _note(planned: JobPlan, missed: list[MissedRange], backlog: Backlog, now: datetime) -> None:
    decision = backlog.decide(now)
    for fire in decision.run:
        planned.catch_up.add(fire)
    missed += decision.missed


def _folded(ranges: list[MissedRange]) -> list[MissedRange]:
    """Join neighbouring ranges of one reason."""
    folded: list[MissedRange] = []
    for one in ranges:
        if folded and folded[-1].reason == one.reason:
            one = MissedRange(one.reason, folded[-1].first, one.last, folded.pop().count + one.count)  # noqa: PLW2901
        folded.append(one)
    return folded
