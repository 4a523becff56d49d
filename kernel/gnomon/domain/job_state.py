"""What the log knows of a job: its definition, whether it is paused, and up to where its fires are decided."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from gnomon.domain import events
from gnomon.domain.events import Event


class JobState(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A fold over `job:<job_id>` and over the fires of the job.

    Fires are due after `anchor`, the moment when the schedule was added or changed. `last_fire` is the scheduled time
    of the newest fire that has its place in the log (scheduled or missed); the next one is counted from it.
    `newest_fire` is the same over all schedules that the job has had: no fire up to there may come a second time.
    `display_name` and `note` are what an operator calls the job and says of it, empty where nobody does; they are no
    part of the definition. `version` is that of the job's own stream.
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
    display_name: str = ""
    note: str = ""

    def apply(self, event: Event) -> None:
        """Fold one event of the job or of one of its executions; events that say nothing of the job are skipped."""
        step = _STEPS.get(type(event))
        if step is not None:
            step(self, event)
        if event.stream.startswith(events.JOB_STREAM):
            self.version = event.version


def begin(event: Event) -> JobState:
    """Make the state that a job's first event begins."""
    state = JobState(job_id=event.job_id, anchor=event.at)
    state.apply(event)
    return state


def _added(state: JobState, event: events.JobAdded) -> None:
    state.definition = event.definition
    _count_anew(state, event)
    state.removed = False
    state.paused = bool(event.definition.get("paused", False))
    state.paused_by = event.actor if state.paused else None
    state.paused_reason = "the definition says so" if state.paused else None
    state.paused_at = event.at if state.paused else None


def _changed(state: JobState, event: events.JobChanged) -> None:
    kept = {key: value for key, value in state.definition.items() if key not in event.changes}
    state.definition = kept | {key: value for key, value in event.changes.items() if value is not None}
    if event.rescheduled:
        _count_anew(state, event)


def _count_anew(state: JobState, event: Event) -> None:
    # The later one: a clock that was set back must not bring the fires of before once more.
    state.anchor = max(event.at, state.newest_fire or event.at)
    state.last_fire = None


def _removed(state: JobState, _event: events.JobRemoved) -> None:
    state.removed = True


def _paused(state: JobState, event: events.JobPaused) -> None:
    state.paused = True
    state.paused_by = event.actor
    state.paused_reason = event.reason
    state.paused_at = event.at


def _resumed(state: JobState, _event: events.JobResumed) -> None:
    state.paused = False
    state.paused_by = state.paused_reason = state.paused_at = None


def _described(state: JobState, event: events.JobDescribed) -> None:
    if event.display_name is not None:
        state.display_name = event.display_name
    if event.note is not None:
        state.note = event.note


def _scheduled(state: JobState, event: events.Scheduled) -> None:
    # A retry (attempt > 1) and a manual run are not fires.
    if not event.is_manual and event.attempt == 1:
        _fired(state, event.scheduled_time)


def _missed(state: JobState, event: events.Missed) -> None:
    # A scheduled run that is missed later was counted before.
    if not event.is_manual and event.version == 1:
        _fired(state, event.last or event.scheduled_time)


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
    events.Scheduled: _scheduled,
    events.Missed: _missed,
}
