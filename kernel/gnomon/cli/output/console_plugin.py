"""Tells on the log what the kernel does, one line for each event: what a person at a terminal wants to see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.hookspecs import hookimpl

log = structlog.stdlib.get_logger("gnomon.domain.events")


class Line(msgspec.Struct, frozen=True):
    """One log line: its level, what happened, and the facts in the order in which they are shown.

    Times are times and durations are seconds, with names such as `took_s`: who shows the line writes them.
    """

    level: str
    what: str
    facts: dict[str, Any]


class ConsolePlugin:
    """Logs every event: ends and step changes for everybody, each word of progress at the level debug."""

    def __init__(self) -> None:
        self._steps: dict[str, str] = {}

    @hookimpl
    def on_event(self, event: Event) -> None:
        """Write the event's line."""
        line = tell(event, self._steps.get(event.stream))
        if isinstance(event, events.Progress) and event.step is not None:
            self._steps[event.stream] = event.step
        elif isinstance(event, _ENDS):
            self._steps.pop(event.stream, None)
        getattr(log, line.level)(line.what, **line.facts)


def tell(event: Event, last_step: str | None = None) -> Line:
    """Say in one line what happened; `last_step` is the step in which the run was before."""
    teller = _TELLERS.get(type(event))
    level, what, facts = teller(event, last_step) if teller else ("debug", event.type.replace("_", " "), {})
    run = {"run": event.stream} if isinstance(event, events.ExecutionEvent) else {}
    return Line(level, what, {"job": event.job_id, **run, **{k: v for k, v in facts.items() if v is not None}})


Told = tuple[str, str, dict[str, Any]]


def _scheduled(event: events.Scheduled, _: str | None) -> Told:
    facts = {
        "by": event.actor,
        "attempt": event.attempt if event.attempt > 1 else None,
        "not_before": event.not_before,
    }
    return "debug" if event.is_fire else "info", "scheduled", facts


def _started(event: events.Started, _: str | None) -> Told:
    return "info", "started", {"late_s": round(event.delay, 3) if event.delay >= 1 else None}


def _progress(event: events.Progress, last_step: str | None) -> Told:
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


def _succeeded(event: events.Succeeded, _: str | None) -> Told:
    return "info", "succeeded", {"took_s": round(event.execution_time, 3)}


def _failed(event: events.Failed, _: str | None) -> Told:
    error = ": ".join(part for part in (event.error_type, first_line(event.error_message)) if part)
    took = None if event.execution_time is None else round(event.execution_time, 3)
    return "error", "failed", {"reason": event.reason, "error": error or None, "took_s": took, "by": event.actor}


def _missed(event: events.Missed, _: str | None) -> Told:
    facts = {
        "reason": event.reason,
        "detail": event.detail,
        "due": event.scheduled_time,
        "fires": event.count if event.count > 1 else None,
        "first_due": event.first,
    }
    return "warning", "missed", facts


def _cancelled(event: events.Cancelled, _: str | None) -> Told:
    took = None if event.execution_time is None else round(event.execution_time, 3)
    return "warning", "cancelled", {"by": event.actor, "reason": event.reason, "took_s": took}


def _cancel_requested(event: events.CancelRequested, _: str | None) -> Told:
    return "info", "cancel requested", {"by": event.actor, "reason": event.reason}


def _warned(event: events.Warned, _: str | None) -> Told:
    return "warning", "warned", {"kind": event.kind, "problem": event.message, "by": event.actor}


def _late_result(event: events.LateResult, _: str | None) -> Told:
    return "warning", "late result", {"outcome": event.outcome, "error": first_line(event.error_message)}


def _hidden(event: events.Hidden, _: str | None) -> Told:
    return "info", "hidden from lists", {"by": event.actor}


def _job_event(event: events.JobEvent, _: str | None) -> Told:
    # The first start of a kernel adds every job there is: that they are there is told in one line, by `gnomon run`.
    level = "debug" if isinstance(event, events.JobAdded) else "info"
    said = {"display_name": event.display_name, "note": event.note} if isinstance(event, events.JobDescribed) else {}
    return level, event.type.replace("_", " "), {"by": event.actor, "reason": event.reason, **said}


def first_line(text: str | None) -> str | None:
    """Return the first line of an error's message; nothing where there is none."""
    return text.strip().partition("\n")[0] or None if text else None


_ENDS = (events.Succeeded, events.Failed, events.Cancelled, events.Missed)
_TELLERS: dict[type[Event], Callable[[Any, str | None], Told]] = {
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
    **dict.fromkeys(events.JOB_EVENTS, _job_event),
}
