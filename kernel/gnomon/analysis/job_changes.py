"""What was done to a job, from the events of its own stream: by operators, by a start and by the kernel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.operator_actions import action_of
from gnomon.domain.run_difference import LoggedAct


def definition_changes(stream: Iterable[Event]) -> list[LoggedAct]:
    """Return when the definition of a job came, changed and went, oldest first."""
    return [act_on_job(event) for event in stream if _changes_definition(event)]


def _changes_definition(event: Event) -> bool:
    return isinstance(event, events.JobAdded | events.JobRemoved) or (
        isinstance(event, events.JobChanged) and bool(event.changes)
    )


def act_on_job(event: Event) -> LoggedAct:
    """Return what an event of a job's own stream says was done."""
    act = action_of(event)
    reason = event.reason if isinstance(event, events.JobEvent) else None
    return LoggedAct(
        at=event.at,
        what=act.action if act is not None else _WORDS.get(type(event), event.type),
        actor=event.actor if isinstance(event, events.JobEvent) else None,
        detail=act.detail if act is not None else reason,
        keys=sorted(event.changes) if isinstance(event, events.JobChanged) else [],
        position=event.position,
    )


_WORDS: Final[dict[type[Event], str]] = {
    events.JobAdded: "add",
    events.JobChanged: "change",
    events.JobRemoved: "remove",
    events.JobPaused: "pause",
    events.JobResumed: "resume",
}
"""The acts of the kernel, or of a start, by the words of operators."""
