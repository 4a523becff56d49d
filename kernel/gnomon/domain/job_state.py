"""The state of a job in the log: its definition, whether it is paused, and its newest fire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from gnomon.domain import events
from gnomon.domain.events import Event, Origin


class Skip(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An operator's decision, made before a fire is due, that it will not run."""

    at: datetime
    actor: str | None = None
    reason: str | None = None


class Backfill(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A backfill that is not over, as `backfill_started` has it; `version` is that of the event."""

    version: int
    since: datetime
    until: datetime
    overlap: bool = False
    rerun: bool = False
    rate: str | None = None
    actor: str | None = None
    fires: int = 0


class JobState(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A fold over `job:<job_id>` and over the fires of the job.

    Fires are counted from `anchor`, the moment at which the schedule was added or changed. `last_fire` is the time of
    the newest fire of this schedule in the log (scheduled or missed); the next one is counted from it. `newest_fire` is
    the newest fire of all schedules that the job has had: no fire up to there may come a second time. `display_name`
    and `note` are an operator's, empty where there is none; they are not part of the definition. `version` is that of
    the job's own stream. `origin`, `owner` and `temporary` are those of `job_added`. `problem` is set while the kernel
    holds the job paused because it cannot build it. `skips` are the fires to come that will not run,
    and perhaps past ones. `backfill` is set while runs are made for past fires.
    """

    job_id: str
    version: int = 0
    definition: dict[str, Any] = {}
    anchor: datetime
    last_fire: datetime | None = None
    newest_fire: datetime | None = None
    paused: bool = False
    paused_by: str | None = None
    paused_reason: str | None = None
    paused_at: datetime | None = None
    removed: bool = False
    removed_at: datetime | None = None
    display_name: str = ""
    note: str = ""
    origin: Origin = "config"
    owner: str | None = None
    temporary: bool = False
    problem: str | None = None
    skips: tuple[Skip, ...] = ()
    backfill: Backfill | None = None

    def skip_of(self, fire: datetime) -> Skip | None:
        """Return the operator's decision that a fire will not run."""
        return next((skip for skip in self.skips if skip.at == fire), None)

    def apply(self, event: Event) -> None:
        """Fold in one event of the job or of one of its executions; others do not change the state."""
        step = _STEPS.get(type(event))
        if step is not None:
            step(self, event)
        if event.stream.startswith(events.JOB_STREAM):
            self.version = event.version


def begin(event: Event) -> JobState:
    """Return the state of a job after its first event.

    A job that was imported has no definition until it is added, and counts as removed.
    """
    state = JobState(job_id=event.job_id, anchor=event.at, removed=True)
    state.apply(event)
    return state


def fold(history: Iterable[Event]) -> JobState:
    """Fold the events of a job's stream, in order of version, into its state."""
    iterator = iter(history)
    state = begin(next(iterator))
    for event in iterator:
        state.apply(event)
    return state


def anchor_at(state: JobState | None, at: datetime) -> datetime:
    """Return the moment from which the fires of a schedule that begins at `at` are counted.

    That is the newest fire where the clock was set back before it: no fire comes a second time.
    """
    newest = state.newest_fire if state is not None else None
    return max(at, newest or at)


def _added(state: JobState, event: events.JobAdded) -> None:
    state.definition = event.definition
    _restart_schedule(state, event)
    state.removed, state.removed_at = False, None
    state.origin, state.owner, state.temporary, state.problem = event.origin, event.owner, event.temporary, None
    state.paused = bool(event.definition.get("paused", False))
    state.paused_by = event.actor if state.paused else None
    state.paused_reason = "the definition says so" if state.paused else None
    state.paused_at = event.at if state.paused else None


def _changed(state: JobState, event: events.JobChanged) -> None:
    kept = {key: value for key, value in state.definition.items() if key not in event.changes}
    state.definition = kept | {key: value for key, value in event.changes.items() if value is not None}
    if event.rescheduled:
        _restart_schedule(state, event)
    state.origin = event.origin or state.origin
    state.owner = state.owner if event.owner is None else event.owner or None
    state.temporary = state.temporary if event.temporary is None else event.temporary


def _restart_schedule(state: JobState, event: events.JobAdded | events.JobChanged) -> None:
    state.anchor = event.anchor or anchor_at(state, event.at)  # older logs do not have it
    state.last_fire = None


def _removed(state: JobState, event: events.JobRemoved) -> None:
    state.removed, state.removed_at = True, event.at
    state.backfill = None


def _paused(state: JobState, event: events.JobPaused) -> None:
    state.paused = True
    state.paused_by = event.actor
    state.paused_reason = event.reason
    state.paused_at = event.at
    state.problem = event.problem


def _resumed(state: JobState, _event: events.JobResumed) -> None:
    state.paused = False
    state.paused_by = state.paused_reason = state.paused_at = state.problem = None


def _described(state: JobState, event: events.JobDescribed) -> None:
    if event.display_name is not None:
        state.display_name = event.display_name
    if event.note is not None:
        state.note = event.note


def _skipped(state: JobState, event: events.FireSkipped) -> None:
    # Not at each fire: stores write the fires of a job without the rest of its state.
    coming = (skip for skip in state.skips if state.newest_fire is None or skip.at > state.newest_fire)
    others = [skip for skip in coming if skip.at != event.scheduled_time]
    if not event.withdrawn:
        others.append(Skip(event.scheduled_time, event.actor, event.reason))
    state.skips = tuple(sorted(others, key=lambda skip: skip.at))


def _backfill_started(state: JobState, event: events.BackfillStarted) -> None:
    state.backfill = Backfill(
        event.version, event.since, event.until, event.overlap, event.rerun, event.rate, event.actor, event.fires
    )


def _backfill_ended(state: JobState, _event: events.BackfillEnded) -> None:
    state.backfill = None


def _scheduled(state: JobState, event: events.Scheduled) -> None:
    if event.is_fire:
        _fired(state, event.scheduled_time)


def _missed(state: JobState, event: events.Missed) -> None:
    if event.is_fire:
        _fired(state, event.last_fire)


def _fired(state: JobState, fire: datetime) -> None:
    if state.last_fire is None or fire > state.last_fire:
        state.last_fire = fire
    if state.newest_fire is None or fire > state.newest_fire:
        state.newest_fire = fire


_STEPS: Final[dict[type[Event], Callable[[JobState, Any], None]]] = {
    events.JobAdded: _added,
    events.JobChanged: _changed,
    events.JobRemoved: _removed,
    events.JobPaused: _paused,
    events.JobResumed: _resumed,
    events.JobDescribed: _described,
    events.FireSkipped: _skipped,
    events.BackfillStarted: _backfill_started,
    events.BackfillEnded: _backfill_ended,
    events.Scheduled: _scheduled,
    events.Missed: _missed,
}
