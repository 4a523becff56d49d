"""Actions of operators, derived from the log: a pure function from an event to an action, the same for every store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.records import Action

KERNEL: Final = "kernel"
"""The actor of what the kernel does itself, which `by_kernel` marks in the event; operators cannot have this name."""


def is_reserved(actor: str | None) -> bool:
    """Return whether a name is reserved for the kernel, however it is capitalized."""
    return actor is not None and actor.strip().casefold() == KERNEL


def action_of(event: Event) -> Action | None:
    """Return the action that an event records; None for an event without one, or for an act of the kernel."""
    # Called for every event that is written: most are not actions and cost one look into a dict.
    read = _ACTIONS.get(type(event))
    if read is None or event.actor is None or getattr(event, "by_kernel", False):  # type: ignore[attr-defined]
        return None
    return read(event)


def _act(event: Any, action: str, **more: Any) -> Action:
    execution_id = event.stream if isinstance(event, events.ExecutionEvent) else None
    place = {"at": event.at, "job_id": event.job_id, "execution_id": execution_id}
    return Action(action=action, actor=event.actor, **place, **more)


def _of_job(action: str) -> Callable[[Any], Action]:
    return lambda event: _act(event, action, detail=event.reason)


def _described(event: events.JobDescribed) -> Action:
    texts = {"display name": event.display_name, "note": event.note}
    changes = [f"{field} {text!r}" if text else f"no {field}" for field, text in texts.items() if text is not None]
    return _act(event, "describe", detail=", ".join(changes))


def _imported(event: events.ActionImported) -> Action:
    return Action(
        at=event.acted_at,
        job_id=event.job_id,
        action=event.action,
        status=event.status,
        actor=event.actor or "",
        error_message=event.error_message,
        detail=event.reason,
    )


def _skipped(event: events.FireSkipped) -> Action:
    fire = f"the fire of {event.scheduled_time:%Y-%m-%d %H:%M:%S} UTC"
    return _act(
        event,
        "unskip" if event.withdrawn else "skip",
        detail=f"{fire}: {event.reason}" if event.reason else fire,
    )


def _backfill_started(event: events.BackfillStarted) -> Action:
    span = f"from {event.since:%Y-%m-%d %H:%M} to {event.until:%Y-%m-%d %H:%M} UTC"
    return _act(event, "backfill", detail=f"{span}: {event.reason}" if event.reason else span)


def _triggered(event: events.Scheduled) -> Action | None:
    return _act(event, "trigger") if event.is_manual and event.attempt == 1 and event.cause is None else None


def _refused(event: events.Missed) -> Action | None:
    if not event.is_manual or event.version > 1:  # with a later version it was accepted first, by its own event
        return None
    return _act(event, "trigger", status="failed", error_message=event.detail or event.reason)


def _withdrawn(event: events.Cancelled) -> Action | None:
    # A run that had started was asked to stop by its own event.
    return _act(event, "cancel", detail=event.reason) if event.version == 2 else None


def _accepted(event: events.KernelStarted) -> Action | None:
    if (lost := event.accepted_rollback) is None:
        return None
    return _act(event, "accept_rollback", detail=lost.words)


def _deployed(event: events.KernelLed) -> Action:
    revision = f" of revision {event.revision}" if event.revision is not None else ""
    what = f"deployment {event.deployment}{revision} by a {event.why.replace('_', ' ')}"
    return _act(event, "deploy", detail=f"{what}: {event.reason}" if event.reason else what)


def _refused_at_once(event: events.ActRefused) -> Action:
    more = (
        f" ({event.left_out} more refused acts of {event.actor} before it were not recorded)" if event.left_out else ""
    )
    return Action(
        at=event.at,
        job_id=event.asked_job_id,
        action=event.action,
        status="failed",
        actor=event.actor,
        error_message=event.message + more,
        execution_id=event.execution_id,
    )


def _logged_out(event: events.LoggedOut) -> Action:
    return _act(event, "log_out", detail=f"{event.reason} of {event.name}")


def _denied(event: events.AccessDenied) -> Action:
    times = f"{event.count} times, " if event.count > 1 else ""
    return _act(
        event, "access", status="failed", error_message=f"{times}{event.reason} from {event.address}: {event.detail}"
    )


def _of_alert(action: str) -> Callable[[Any], Action | None]:
    def read(event: events.AlertAcknowledged | events.AlertSnoozed | events.AlertResolved) -> Action:
        is_withdrawn = getattr(event, "withdrawn", False)
        until = getattr(event, "until", None)
        span = f" until {until:%Y-%m-%d %H:%M} UTC" if until is not None and not is_withdrawn else ""
        what = f"alert {event.alert_id[:8]}{span}"
        detail = f"{what}: {event.reason}" if event.reason else what
        return _act(event, f"un{action}" if is_withdrawn else action, detail=detail)

    return read


_ACTIONS: Final[dict[type[Event], Callable[[Any], Action | None]]] = {
    events.JobAdded: _of_job("add"),
    events.JobChanged: _of_job("change"),
    events.JobRemoved: _of_job("remove"),
    events.JobPaused: _of_job("pause"),
    events.JobResumed: _of_job("resume"),
    events.JobDescribed: _described,
    events.FireSkipped: _skipped,
    events.BackfillStarted: _backfill_started,
    events.BackfillEnded: _of_job("stop_backfill"),
    events.KernelHeld: _of_job("hold"),
    events.KernelReleased: _of_job("release"),
    events.Scheduled: _triggered,
    events.Missed: _refused,
    events.CancelRequested: lambda event: _act(event, "cancel", detail=event.reason),
    events.Cancelled: _withdrawn,
    events.Failed: lambda event: _act(event, "mark_failed", detail=event.error_message),
    events.ActionImported: _imported,
    events.Hidden: lambda event: _act(event, "hide"),
    events.KernelStarted: _accepted,
    events.KernelLed: _deployed,
    events.KernelStopped: lambda event: _act(event, "step_down", detail=event.reason) if event.actor else None,
    events.ActRefused: _refused_at_once,
    events.LoggedIn: lambda event: _act(event, "log_in", detail=f"{event.via} from {event.address}"),
    events.LoggedOut: _logged_out,
    events.AccessDenied: _denied,
    events.AlertAcknowledged: _of_alert("acknowledge"),
    events.AlertSnoozed: _of_alert("snooze"),
    events.AlertResolved: _of_alert("resolve"),
}
