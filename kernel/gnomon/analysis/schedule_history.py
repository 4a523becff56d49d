"""What a job's own stream tells of its past: the schedules that it had one after the other, and its pauses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from gnomon.domain import events, job_state
from gnomon.domain.events import Event
from gnomon.domain.job_state import JobState
from gnomon.jobs.definition import rebuild_job
from gnomon.jobs.job import Job
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.triggers import AtTrigger, EveryTrigger, Trigger

Ending = Literal["removed", "changed"]
MICROSECOND = timedelta(microseconds=1)
COUNTED_FROM_THEIR_MAKING = frozenset({"interval", "calendarinterval"})
"""APScheduler's triggers whose first fire lies an interval after the moment at which their object was made, unless they
have a `start_date`. The log does not know that moment."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When a job was due from one moment to another: its fires are in anchor < fire <= until.

    Its outcomes are those that lie between two positions of the log: whoever ends a schedule settles its fires before.
    `anchor` is `since`, unless the clock was set back. `trigger` is None for a job that had no schedule, and where it
    cannot be had from the log: then `problem` says why. `until`, `ending` and the rest tell what ended it, and are None
    while it is in force.
    """

    job_id: str
    position: int
    since: datetime
    anchor: datetime
    definition: dict[str, Any]
    actor: str | None = None
    reason: str | None = None
    job: Job | None = None
    trigger: Trigger | None = None
    problem: str | None = None
    until: datetime | None = None
    end_position: int | None = None
    ending: Ending | None = None
    ended_by: str | None = None
    ended_reason: str | None = None

    def covers(self, moment: datetime) -> bool:
        """Whether a fire at that moment would be one of this schedule."""
        return self.since < moment and (self.until is None or moment <= self.until)

    def holds(self, position: int) -> bool:
        """Whether an outcome at that position of the log is one of this schedule."""
        return self.position < position and (self.end_position is None or position < self.end_position)

    def fires_begin(self, start: datetime) -> tuple[datetime | None, datetime] | None:
        """Tell the last fire before `start` and the anchor, from which the next fires follow; None if nobody can.

        Cron remembers nothing, `at` is one instant, and `every` counts from the beginning of the schedule; others count
        from their last fire, which only the log knows.
        """
        if start <= self.anchor:
            return None if counts_from_its_making(self.definition.get("trigger")) else (None, self.anchor)
        if isinstance(self.trigger, CronTrigger):
            return None, start - MICROSECOND
        if isinstance(self.trigger, AtTrigger):
            return None, self.anchor
        if isinstance(self.trigger, EveryTrigger):
            count = (start - MICROSECOND - self.anchor) // self.trigger.interval
            return (self.anchor + count * self.trigger.interval if count else None), self.anchor
        return None


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which no fire of the job ran; `until` is None while it lasts."""

    since: datetime
    until: datetime | None = None
    by: str | None = None
    reason: str | None = None
    ended_by: str | None = None

    def covers(self, moment: datetime) -> bool:
        """Whether a fire at that moment was held back."""
        return self.until is None or moment <= self.until


class ScheduleHistory(msgspec.Struct, kw_only=True):
    """All schedules and pauses of a job, oldest first, and where it stands at the end."""

    state: JobState
    position: int
    schedules: list[Schedule]
    pauses: list[Pause]

    def schedule_at(self, moment: datetime) -> Schedule | None:
        """Return the schedule that was, or will be, in force at that moment."""
        return next((schedule for schedule in self.schedules if schedule.covers(moment)), None)

    def pause_of(self, fire: datetime, decided_at: datetime) -> Pause | None:
        """Return the pause that held a fire back until `decided_at`, or until now."""
        held = (pause for pause in reversed(self.pauses) if pause.since <= decided_at and pause.covers(fire))
        return next(held, None)


def read_past(stream: Iterable[Event], state: JobState | None = None) -> ScheduleHistory:
    """Fold the events of a job's own stream, of which there must be one at least.

    The kernel's own `state` of the job, where it is of the same moment, tells the rest: the newest fire and the anchor.
    """
    iterator = iter(stream)
    first = next(iterator)
    past = ScheduleHistory(state=job_state.begin(first), position=first.position, schedules=[], pauses=[])
    _note(past, first)
    for event in iterator:
        past.state.apply(event)
        past.position = event.position
        _note(past, event)
    if state is not None and state.version == past.state.version:
        past.state = state
        if past.schedules and past.schedules[-1].until is None:
            past.schedules[-1] = msgspec.structs.replace(past.schedules[-1], anchor=state.anchor)
    return past


def _note(past: ScheduleHistory, event: Event) -> None:
    if isinstance(event, events.JobAdded):
        _begin_schedule(past, event)
        if past.state.paused:
            past.pauses.append(Pause(since=event.at, by=event.actor, reason=past.state.paused_reason))
    elif isinstance(event, events.JobChanged):
        _change(past, event)
    elif isinstance(event, events.JobRemoved):
        _end_schedule(past, event, "removed")
        _end_pause(past, event)
    elif isinstance(event, events.JobPaused):
        past.pauses.append(Pause(since=event.at, by=event.actor, reason=event.reason))
    elif isinstance(event, events.JobResumed):
        _end_pause(past, event)


def _begin_schedule(past: ScheduleHistory, event: events.JobEvent) -> None:
    schedule = Schedule(
        job_id=event.job_id,
        position=event.position,
        since=event.at,
        anchor=event.at,
        definition=past.state.definition,
        actor=event.actor,
        reason=event.reason,
    )
    past.schedules.append(_built(schedule))


def _change(past: ScheduleHistory, event: events.JobChanged) -> None:
    if event.rescheduled:
        _end_schedule(past, event, "changed")
        _begin_schedule(past, event)
    elif past.schedules:
        past.schedules[-1] = _built(msgspec.structs.replace(past.schedules[-1], definition=past.state.definition))


def _end_schedule(past: ScheduleHistory, event: events.JobEvent, ending: Ending) -> None:
    if past.schedules and past.schedules[-1].until is None:
        past.schedules[-1] = msgspec.structs.replace(
            past.schedules[-1],
            until=event.at,
            end_position=event.position,
            ending=ending,
            ended_by=event.actor,
            ended_reason=event.reason,
        )


def _end_pause(past: ScheduleHistory, event: events.JobEvent) -> None:
    if past.pauses and past.pauses[-1].until is None:
        past.pauses[-1] = msgspec.structs.replace(past.pauses[-1], until=event.at, ended_by=event.actor)


def _built(schedule: Schedule) -> Schedule:
    """Add the job and the trigger that the definition describes, or the problem that prevents it."""
    rebuilt = rebuild_job(schedule.definition)
    trigger = rebuilt.trigger if rebuilt.problem is None else None
    return msgspec.structs.replace(schedule, job=rebuilt.job, trigger=trigger, problem=rebuilt.problem)


def counts_from_its_making(spec: Any) -> bool:
    """Tell whether a trigger table names fires that depend on when its object was made."""
    if not isinstance(spec, Mapping):
        return False
    if spec.get("type") in COUNTED_FROM_THEIR_MAKING and spec.get("start_date") is None:
        return True
    return any(counts_from_its_making(part) for part in spec.get("triggers", ()))
