"""The full report of one run: facts, arguments, steps, error, and its events as a timeline."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta, tzinfo
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from gnomon.cli.output.event_text import describe
from gnomon.cli.output.states import format_facts, state_of, style_of, with_glyph
from gnomon.cli.output.tables import output
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.labels import label_texts
from gnomon.domain.progress import Step
from gnomon.text import length, moment

CAUSES = {"at_start": "a kernel started (at_start)", "backfill": "a backfill"}
STEP_GLYPHS = {"pending": "·", "current": "▶", "completed": "✔", "failed": "✘", "skipped": "○"}


class Node(msgspec.Struct, frozen=True):
    """One line of the timeline; consecutive progress events share a node. `offset` is in seconds since the first."""

    offset: float
    text: str
    position: int


def print_report(
    execution: Execution,
    run_events: Sequence[Event],
    zone: tzinfo | None,
    console: Console | None = None,
    *,
    time_left: str | None = None,
) -> None:
    """Print the report of a run, with times in `zone`; `time_left` says how long a running one still needs."""
    console = console or output()
    head = Text.assemble((with_glyph(state_of(execution)), style_of(state_of(execution))), f"  {execution.job_id}")
    console.print(head, Text(execution.id), sep="  ")
    _section(console, "", facts(execution, zone))
    _section(console, "arguments", arguments(execution))
    left = [("left", time_left.removesuffix(" left"))] if time_left is not None else []
    _section(console, "progress", [*progress(execution), *left])
    _section(console, "steps", [_step(step) for step in execution.progress.steps])
    if execution.return_value is not None:
        _section(console, "result", [("", in_json(execution.return_value))])
    _section(console, "error", error(execution))
    _section(
        console,
        "events",
        [(f"+{node.offset:.3f} s", f"{node.text}  #{node.position}") for node in timeline(run_events, zone)],
    )


def facts(execution: Execution, zone: tzinfo | None) -> list[tuple[str, str]]:
    """Return names and values of what is known about a run; unknown facts are left out."""
    started = execution.delay is not None
    described = {
        "due": moment(execution.scheduled_time, zone),
        "started" if started else "recorded": moment(execution.timestamp, zone, seconds=True),
        "late": length(execution.delay) if execution.delay and execution.delay >= 0.001 else None,
        "took": length(execution.execution_time) if execution.execution_time is not None else None,
        "by hand": (execution.actor or "yes") if _is_by_hand(execution) else None,
        "cause": CAUSES[execution.cause] if execution.cause is not None else None,
        "triggered by": f"run {execution.triggered_by}" if execution.triggered_by is not None else None,
        "attempt": str(execution.tries) if execution.tries > 1 else None,
        "snoozed before": f"{execution.snoozes} times" if execution.snoozes else None,
        "follows": f"run {execution.retry_of}" if execution.retry_of is not None else None,
        "snoozed until": moment(execution.snoozed_until, zone, seconds=True) if execution.snoozed_until else None,
        "runs again as": f"run {execution.snoozed_to}" if execution.snoozed_to is not None else None,
        "reason": execution.reason,
        "detail": execution.detail,
        "labels": ", ".join(label_texts(execution.labels)),
        "fires": _range(execution, zone),
        "cancelled by": execution.cancelled_by,
        "ran on": " ".join(word for word in (execution.node, execution.runner, execution.worker) if word),
        "warning": execution.warning,
        "imported": f"from {execution.imported_from}" if execution.imported_from else None,
        "late result": execution.late_result,
        "hidden": "yes, left out of lists" if execution.hidden else None,
    }
    return [(name, value) for name, value in described.items() if value]


def _is_by_hand(execution: Execution) -> bool:
    return execution.is_manual and execution.cause is None and execution.triggered_by is None


def arguments(execution: Execution) -> list[tuple[str, str]]:
    """Return the arguments of the run, as JSON."""
    named = [(name, in_json(value)) for name, value in execution.kwargs.items()]
    return [(f"[{i}]", in_json(value)) for i, value in enumerate(execution.args)] + named


def error(execution: Execution) -> list[tuple[str, str]]:
    """Return the traceback, after the message where it lacks it: that of a stopped run does not name the reason."""
    message, trace = (execution.error_message or "").rstrip(), (execution.traceback or "").rstrip()
    parts = [trace] if message in trace else [message, trace]
    return [("", part) for part in parts if part]


def progress(execution: Execution) -> list[tuple[str, str]]:
    """Return the last progress that the run reported."""
    view = execution.progress
    items = f"{view.processed_items} of {view.total_items or '?'}" if view.processed_items is not None else None
    described = {
        "done": f"{view.percent:.0f} %" if view.percent is not None else None,
        "items": items,
        "at": view.current_item,
        "message": view.message,
    }
    return [(name, value) for name, value in described.items() if value]


def timeline(run_events: Sequence[Event], zone: tzinfo | None) -> list[Node]:
    """Return the nodes of the timeline; progress within one step becomes one node that shows its last event."""
    nodes: list[Node] = []
    step, folded = None, 0
    for event in run_events:
        line = describe(event, step)
        facts = format_facts(line.facts, zone)
        words = " ".join(f"{name}={value}" for name, value in facts.items() if name not in {"job", "run"})
        is_more = isinstance(event, events.Progress) and folded > 0 and line.level == "debug"
        folded = folded + 1 if is_more else int(isinstance(event, events.Progress))
        step = getattr(event, "step", None) or step
        node = Node(
            offset=(event.at - run_events[0].at) / timedelta(seconds=1),
            text=f"{line.summary}{f' ×{folded}' if folded > 1 else ''} {words}".rstrip(),
            position=event.position,
        )
        nodes[-1:] = [node] if is_more else [*nodes[-1:], node]
    return nodes


def in_json(value: Any) -> str:
    """Return a value as JSON in one line, and text unchanged."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _section(console: Console, title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print names and values in rows; values keep their line breaks and are wrapped, never cut."""
    if not rows:
        return
    if title:
        console.print(Text(f"\n{title}", "bold"))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        margin = f"  {name:<{width}}  " if width else "  "
        text = Text(value)
        lines = text.wrap(console, max(console.width - len(margin), 20), overflow="fold")
        for i, line in enumerate(lines):
            console.print(Text.assemble((margin, "dim") if i == 0 else " " * len(margin), line), soft_wrap=True)


def _step(step: Step) -> tuple[str, str]:
    took = (step.ended_at - step.started_at) / timedelta(seconds=1) if step.started_at and step.ended_at else None
    state = f"{STEP_GLYPHS[step.status]} {step.status}"
    return step.name, state if took is None else f"{state} in {length(took)}"


def _range(execution: Execution, zone: tzinfo | None) -> str | None:
    if execution.count == 1:
        return None
    return f"{execution.count}, from {moment(execution.first, zone)} to {moment(execution.last, zone)}"
