"""The schedules and pauses that a job has had, read from its own stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from gnomon.domain import events, job_state
from gnomon.domain.events import Event
from gnomon.domain.job_state import JobState
from gnomon.durations import MICROSECOND
from gnomon.explanations import Pause
from gnomon.jobs.definition import rebuild_job
from gnomon.jobs.job import Job
from gnomon.scheduling.catch_up import next_fire
from gnomon.scheduling.foreign_triggers import ForeignTrigger
from gnomon.scheduling.triggers import AnchoredTrigger, EveryTrigger

Ending = Literal["removed", "changed"]
COUNTED_FROM_CREATION = frozenset({"interval", "calendarinterval"})
"""APScheduler's triggers that count from the creation of their object unless they have a `start_date`."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule of a job and the period in which it was in force: its fires are in anchor < fire <= until.

    Its outcomes lie between two positions of the log, because its fires are decided before the schedule ends. `anchor`
    is `since`, or the newest fire where the clock had been set back before it. `trigger` is None for a job without a
    schedule, and where `problem` says why it cannot be rebuilt from the log. `until` and the fields after it describe
    how it ended; they are None while it is in force.
    """

    job_id: str
    position: int
    since: datetime
    anchor: datetime
    has_recorded_anchor: bool = True
    definition: dict[str, Any]
    actor: str | None = None
    reason: str | None = None
    job: Job | None = None
    trigger: AnchoredTrigger | None = None
    problem: str | None = None
    attached_to: str | None = None
    until: datetime | None = None
    end_position: int | None = None
    ending: Ending | None = None
    ended_by: str | None = None
    ended_reason: str | None = None

    def covers(self, moment: datetime) -> bool:
        """Return whether a fire at that moment belongs to this schedule."""
        return self.since < moment and (self.until is None or moment <= self.until)

    def holds(self, position: int) -> bool:
        """Return whether an outcome at that position of the log belongs to this schedule."""
        return self.position < position and (self.end_position is None or position < self.end_position)

    def fires_begin(self, start: datetime) -> tuple[datetime | None, datetime] | None:
        """Return what the fires from `start` on follow from: a time before them, or None for the first, and the anchor.

        None where they follow from the last fire, which only the log has.
        """
        if self.is_counted_from_creation or isinstance(self.trigger, ForeignTrigger):
            return None
        if start <= self.anchor:
            return None, self.anchor
        if isinstance(self.trigger, EveryTrigger):
            return self.trigger.last_before(start, self.anchor), self.anchor
        return start - MICROSECOND, self.anchor

    def fires_from(self, start: datetime, last_fire: datetime | None, anchor: datetime) -> Iterator[datetime]:
        """Iterate over the fires from a moment on, which follow from what `fires_begin` returns."""
        assert self.trigger is not None  # noqa: S101 - callers check
        fire = next_fire(self.trigger, last_fire, anchor)
        while fire is not None:
            if fire >= start:
                yield fire
            fire = next_fire(self.trigger, fire, anchor)

    @property
    def is_counted_from_creation(self) -> bool:
        """Whether the fires of an older log were counted from the creation of the trigger, which is not in the log."""
        return not self.has_recorded_anchor and _counts_from_creation(self.definition.get("trigger"))


class ScheduleHistory(msgspec.Struct, kw_only=True):
    """All schedules and pauses of a job, oldest first, and its state at the end."""

    state: JobState
    position: int
    schedules: list[Schedule]
    pauses: list[Pause]

    def schedule_at(self, moment: datetime) -> Schedule | None:
        """Return the schedule that is in force at that moment."""
        return next((schedule for schedule in self.schedules if schedule.covers(moment)), None)

    def pause_of(self, fire: datetime, decided_at: datetime) -> Pause | None:
        """Return the pause that held a fire back until `decided_at`, or until now."""
        held = (pause for pause in reversed(self.pauses) if pause.since <= decided_at and pause.covers(fire))
        return next(held, None)


def read_history(stream: Iterable[Event], state: JobState | None = None) -> ScheduleHistory:
    """Fold the events of a job's own stream, which must not be empty.

    The stored `state` of the job, if it is of the same version, adds the newest fire and the anchor.
    """
    iterator = iter(stream)
    first = next(iterator)
    history = ScheduleHistory(state=job_state.begin(first), position=first.position, schedules=[], pauses=[])
    _apply(history, first)
    for event in iterator:
        history.state.apply(event)
        history.position = event.position
        _apply(history, event)
    if state is not None and state.version == history.state.version:
        history.state = state
        if history.schedules and history.schedules[-1].until is None:
            history.schedules[-1] = msgspec.structs.replace(history.schedules[-1], anchor=state.anchor)
    return history


def _apply(history: ScheduleHistory, event: Event) -> None:
    if isinstance(event, events.JobAdded):
        _begin_schedule(history, event)
        if history.state.paused:
            history.pauses.append(Pause(since=event.at, by=event.actor, reason=history.state.paused_reason))
    elif isinstance(event, events.JobChanged):
        _change(history, event)
    elif isinstance(event, events.JobRemoved):
        _end_schedule(history, event, "removed")
        _end_pause(history, event)
    elif isinstance(event, events.JobPaused):
        _end_pause(history, event)  # one of the kernel, which an operator's pause replaces
        history.pauses.append(Pause(since=event.at, by=event.actor, reason=event.reason))
    elif isinstance(event, events.JobResumed):
        _end_pause(history, event)


def _begin_schedule(history: ScheduleHistory, event: events.JobAdded | events.JobChanged) -> None:
    schedule = Schedule(
        job_id=event.job_id,
        position=event.position,
        since=event.at,
        anchor=event.anchor or event.at,
        has_recorded_anchor=event.anchor is not None,
        definition=history.state.definition,
        actor=event.actor,
        reason=event.reason,
        attached_to=history.state.owner if history.state.origin == "attached" else None,
    )
    history.schedules.append(_with_trigger(schedule))


def _change(history: ScheduleHistory, event: events.JobChanged) -> None:
    if event.rescheduled:
        _end_schedule(history, event, "changed")
        _begin_schedule(history, event)
    elif history.schedules:
        history.schedules[-1] = _with_trigger(
            msgspec.structs.replace(history.schedules[-1], definition=history.state.definition)
        )


def _end_schedule(history: ScheduleHistory, event: events.JobEvent, ending: Ending) -> None:
    if history.schedules and history.schedules[-1].until is None:
        history.schedules[-1] = msgspec.structs.replace(
            history.schedules[-1],
            until=event.at,
            end_position=event.position,
            ending=ending,
            ended_by=event.actor,
            ended_reason=event.reason,
        )


def _end_pause(history: ScheduleHistory, event: events.JobEvent) -> None:
    if history.pauses and history.pauses[-1].until is None:
        history.pauses[-1] = msgspec.structs.replace(history.pauses[-1], until=event.at, ended_by=event.actor)


def _with_trigger(schedule: Schedule) -> Schedule:
    """Add the job and the trigger that the definition describes, or the problem that prevents it."""
    if schedule.attached_to is not None:
        return msgspec.structs.replace(schedule, problem=f"{schedule.attached_to} decided its fires, not a kernel")
    rebuilt = rebuild_job(schedule.definition)
    trigger = rebuilt.trigger if rebuilt.problem is None else None
    return msgspec.structs.replace(schedule, job=rebuilt.job, trigger=trigger, problem=rebuilt.problem)


def _counts_from_creation(spec: Any) -> bool:
    """Return whether the fires of a trigger table depend on when its object was created."""
    if not isinstance(spec, Mapping):
        return False
    if spec.get("type") in COUNTED_FROM_CREATION and spec.get("start_date") is None:
        return True
    return any(_counts_from_creation(part) for part in spec.get("triggers", ()))
