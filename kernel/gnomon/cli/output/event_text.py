"""Events as text: one line for each, in the log of `gnomon run` and on a terminal that follows a kernel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import tzinfo
from typing import Any, get_args

import msgspec

from gnomon.cli.output.console import echo, echo_json
from gnomon.cli.output.states import format_facts
from gnomon.domain import codec, events
from gnomon.domain.events import Event


class EventText(msgspec.Struct, frozen=True):
    """An event as a log line: its level, a summary, and facts in the order in which they are shown.

    Times are datetimes and durations are seconds under names such as `took_s`; `format_facts` writes them.
    """

    level: str
    summary: str
    facts: dict[str, Any]


def describe(event: Event, last_step: str | None = None) -> EventText:
    """Return the text of an event; `last_step` is the step that the run was in before."""
    describe_type = _DESCRIPTIONS.get(type(event))
    level, summary, facts = (
        describe_type(event, last_step) if describe_type else ("debug", event.type.replace("_", " "), {})
    )
    run = {"run": event.stream} if isinstance(event, events.ExecutionEvent) else {}
    job = {"job": event.job_id} if event.job_id else {"node": event.node}
    return EventText(level, summary, {**job, **run, **{k: v for k, v in facts.items() if v is not None}})


def first_line(text: str | None) -> str | None:
    """Return the first line of an error message, or None if there is none."""
    return text.strip().partition("\n")[0] or None if text else None


async def print_events(following: AsyncIterator[Event], zone: tzinfo | None, *, as_json: bool) -> None:
    """Print events as they come: as JSON, or the ones of at least level info as text."""
    steps: dict[str, str] = {}
    async for event in following:
        if as_json:
            echo_json(codec.encode(event).decode())
        elif (line := _line(event, steps.get(event.stream), zone)) is not None:
            echo(line)
        if isinstance(event, events.Progress) and event.step is not None:
            steps[event.stream] = event.step


def _line(event: Event, last_step: str | None, zone: tzinfo | None) -> str | None:
    text = describe(event, last_step)
    if text.level == "debug":
        return None
    facts = " ".join(
        f"{name}={value}" for name, value in format_facts(text.facts, zone).items() if name not in {"job", "node"}
    )
    return f"{event.at.astimezone(zone):%H:%M:%S}  {event.job_id or event.node}  {text.summary}  {facts}"


# --- the texts of each type ---

Description = tuple[str, str, dict[str, Any]]


def _scheduled(event: events.Scheduled, _: str | None) -> Description:
    facts = {
        "by": event.actor if event.triggered_by is None else f"run {event.triggered_by}",
        "attempt": tries if (tries := event.attempt - event.snoozes) > 1 else None,
        "snoozes": event.snoozes or None,
        "not_before": event.not_before,
    }
    return "debug" if event.is_fire else "info", "scheduled", facts


def _started(event: events.Started, _: str | None) -> Description:
    late = round(event.delay, 3) if event.delay >= 1 else None
    return "info", "started", {"late_s": late, "worker": event.worker if event.code else None, "code": event.code}


def _progress(event: events.Progress, last_step: str | None) -> Description:
    facts = {
        "step": event.step,
        "percent": event.percent,
        "message": event.message,
        "item": event.current_item,
        "done": event.processed_items,
        "of": event.total_items,
    }
    is_new_step = event.step is not None and event.step != last_step
    return "info" if is_new_step else "debug", "progress", facts


def _succeeded(event: events.Succeeded, _: str | None) -> Description:
    return "info", "succeeded", {"took_s": round(event.execution_time, 3)}


def _failed(event: events.Failed, _: str | None) -> Description:
    error = ": ".join(part for part in (event.error_type, first_line(event.error_message)) if part)
    took = None if event.execution_time is None else round(event.execution_time, 3)
    return "error", "failed", {"reason": event.reason, "error": error or None, "took_s": took, "by": event.actor}


def _missed(event: events.Missed, _: str | None) -> Description:
    facts = {
        "reason": event.reason,
        "detail": event.detail,
        "due": event.scheduled_time,
        "fires": event.count if event.count > 1 else None,
        "first_due": event.first,
    }
    return "warning", "missed", facts


def _cancelled(event: events.Cancelled, _: str | None) -> Description:
    took = None if event.execution_time is None else round(event.execution_time, 3)
    if event.snoozed_until is not None:
        next_run = {"until": event.snoozed_until, "next": event.snoozed_to}
        return "info", "snoozed", {**next_run, "reason": event.reason, "took_s": took}
    return "warning", "cancelled", {"by": event.actor, "reason": event.reason, "took_s": took}


def _cancel_requested(event: events.CancelRequested, _: str | None) -> Description:
    return "info", "cancel requested", {"by": event.actor, "reason": event.reason}


def _warned(event: events.Warned, _: str | None) -> Description:
    return "warning", "warned", {"kind": event.kind, "problem": event.message, "by": event.actor}


def _late_result(event: events.LateResult, _: str | None) -> Description:
    return "warning", "late result", {"outcome": event.outcome, "error": first_line(event.error_message)}


def _hidden(event: events.Hidden, _: str | None) -> Description:
    return "info", "hidden from lists", {"by": event.actor}


def _imported(event: events.Imported, _: str | None) -> Description:
    return "debug", "imported", {"from": event.source, "status": event.status, "due": event.scheduled_time}


def _job_event(event: events.JobEvent, _: str | None) -> Description:
    # The first start of a kernel adds every job; `gnomon run` logs their number in one line.
    level = "debug" if isinstance(event, events.JobAdded | events.ActionImported) else "info"
    words = {"display_name": event.display_name, "note": event.note} if isinstance(event, events.JobDescribed) else {}
    if isinstance(event, events.ActionImported):
        words = {"action": event.action, "from": event.source}
    return level, event.type.replace("_", " "), {"by": event.actor, "reason": event.reason, **words}


def _kernel_started(event: events.KernelStarted, _: str | None) -> Description:
    lost = event.accepted_rollback
    facts = {"pid": event.pid, "by": event.actor, **event.versions, "accepted": lost.words if lost else None}
    return "info" if lost is None else "warning", "kernel started", facts


def _kernel_led(event: events.KernelLed, _: str | None) -> Description:
    return (
        "info",
        "kernel leads",
        {"pid": event.pid, "why": event.why, "deployment": event.deployment, "revision": event.revision},
    )


def _kernel_stopped(event: events.KernelStopped, _: str | None) -> Description:
    return "info", "kernel stopped", {"reason": event.reason}


def _clock_changed(event: events.ClockChanged, _: str | None) -> Description:
    return "warning", "clock changed", {"direction": event.direction, "seconds": event.microseconds / 1e6}


def _kernel_held_up(event: events.KernelHeldUp, _: str | None) -> Description:
    facts = {"seconds": round(event.seconds, 3), "job": event.held_by, "problem": event.detail}
    return "warning", f"kernel {event.kind}", facts


def _queue_stalled(event: events.QueueStalled, _: str | None) -> Description:
    return "warning", "queue stalled", {"runner": event.runner, "queue": event.queue, "problem": event.reason}


def _queue_resumed(event: events.QueueResumed, _: str | None) -> Description:
    return "info", "queue resumed", {"runner": event.runner, "queue": event.queue, "seconds": event.seconds}


def _act_refused(event: events.ActRefused, _: str | None) -> Description:
    asked = {"job": event.asked_job_id or None, "run": event.execution_id, "left_out": event.left_out or None}
    return "warning", "act refused", {"action": event.action, "by": event.actor, **asked, "problem": event.message}


def _logged_in(event: events.LoggedIn, _: str | None) -> Description:
    return "info", "logged in", {"actor": event.actor, "via": event.via, "address": event.address}


def _logged_out(event: events.LoggedOut, _: str | None) -> Description:
    return "info", "logged out", {"actor": event.actor, "name": event.name, "reason": event.reason}


def _access_denied(event: events.AccessDenied, _: str | None) -> Description:
    facts = {"actor": event.actor, "reason": event.reason, "address": event.address, "request": event.detail}
    return "warning", "access denied", facts | ({"times": event.count} if event.count > 1 else {})


def _alert_opened(event: events.AlertOpened, _: str | None) -> Description:
    level = {"info": "info", "warning": "warning"}.get(event.severity, "error")
    facts = {"alert": event.alert_id[:8], "rule": event.rule, "about": event.subject or None, "problem": event.message}
    return level, "alert opened", facts


def _alert_changed(event: Any, _: str | None) -> Description:
    facts = {"alert": event.alert_id[:8], "by": getattr(event, "actor", None), "reason": getattr(event, "reason", None)}
    facts |= {name: getattr(event, name, None) or None for name in ("count", "until", "why", "withdrawn")}
    return "info", event.type.replace("_", " "), facts


_DESCRIPTIONS: dict[type[Event], Callable[[Any, str | None], Description]] = {
    events.Scheduled: _scheduled,
    events.Started: _started,
    events.Progress: _progress,
    events.Succeeded: _succeeded,
    events.Failed: _failed,
    events.Missed: _missed,
    events.Cancelled: _cancelled,
    events.CancelRequested: _cancel_requested,
    events.Warned: _warned,
    events.LateResult: _late_result,
    events.Hidden: _hidden,
    events.Imported: _imported,
    **dict.fromkeys(events.JOB_EVENTS, _job_event),
    events.KernelStarted: _kernel_started,
    events.KernelLed: _kernel_led,
    events.KernelStopped: _kernel_stopped,
    events.ClockChanged: _clock_changed,
    events.KernelHeldUp: _kernel_held_up,
    events.QueueStalled: _queue_stalled,
    events.QueueResumed: _queue_resumed,
    events.ActRefused: _act_refused,
    events.LoggedIn: _logged_in,
    events.LoggedOut: _logged_out,
    events.AccessDenied: _access_denied,
    **dict.fromkeys(get_args(events.AlertFact), _alert_changed),
    events.AlertOpened: _alert_opened,
}
