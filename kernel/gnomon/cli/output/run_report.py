"""All that is known of one run, for people: facts, parameters, steps, error, and its events on a line of time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta, tzinfo
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from gnomon.cli.output.console_plugin import tell
from gnomon.cli.output.states import style_of, with_glyph, written_facts
from gnomon.cli.output.tables import output
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.progress import Step
from gnomon.text import length, moment

STEP_GLYPHS = {"pending": "·", "current": "▶", "completed": "✔", "failed": "✘", "skipped": "○"}


class Node(msgspec.Struct, frozen=True):
    """One line of the timeline; neighbouring words of progress are one node. `offset` is seconds since the first."""

    offset: float
    what: str
    position: int


def print_report(
    execution: Execution, history: Sequence[Event], zone: tzinfo | None, console: Console | None = None
) -> None:
    """Print the report of a run; `zone` is for its times."""
    console = console or output()
    head = Text.assemble((with_glyph(execution.status), style_of(execution.status)), f"  {execution.job_id}")
    console.print(head, Text(execution.id), sep="  ")
    _section(console, "", facts(execution, zone))
    _section(console, "parameters", parameters(execution))
    _section(console, "progress", progress(execution))
    _section(console, "steps", [_step(step) for step in execution.progress.steps])
    if execution.return_value is not None:
        _section(console, "result", [("", in_json(execution.return_value))])
    _section(console, "error", error(execution))
    _section(
        console,
        "events",
        [(f"+{node.offset:.3f} s", f"{node.what}  #{node.position}") for node in timeline(history, zone)],
    )


def facts(execution: Execution, zone: tzinfo | None) -> list[tuple[str, str]]:
    """List what is known of when, where, why and for how long; what there is not is left out."""
    started = execution.status not in {"scheduled", "missed"}
    described = {
        "due": moment(execution.scheduled_time, zone),
        "started" if started else "recorded": moment(execution.timestamp, zone, seconds=True),
        "late": length(execution.delay) if execution.delay and execution.delay >= 0.001 else None,
        "took": length(execution.execution_time) if execution.execution_time is not None else None,
        "by hand": (execution.actor or "yes") if execution.is_manual else None,
        "attempt": f"{execution.attempt}, of {execution.retry_of}" if execution.attempt > 1 else None,
        "reason": execution.reason,
        "detail": execution.detail,
        "fires": _range(execution, zone),
        "cancelled by": execution.cancelled_by,
        "ran on": " ".join(word for word in (execution.node, execution.runner, execution.worker) if word),
        "warning": execution.warning,
        "late result": execution.late_result,
        "in lists": "no, it was hidden" if execution.hidden else None,
    }
    return [(name, value) for name, value in described.items() if value]


def parameters(execution: Execution) -> list[tuple[str, str]]:
    """List the arguments of the run, as JSON."""
    named = [(name, in_json(value)) for name, value in execution.kwargs.items()]
    return [(f"[{i}]", in_json(value)) for i, value in enumerate(execution.args)] + named


def error(execution: Execution) -> list[tuple[str, str]]:
    """Tell what went wrong, and where: the traceback of a run that was stopped does not say why it was."""
    message, trace = (execution.error_message or "").rstrip(), (execution.traceback or "").rstrip()
    told = [trace] if message in trace else [message, trace]
    return [("", part) for part in told if part]


def progress(execution: Execution) -> list[tuple[str, str]]:
    """List what the run told of itself last."""
    view = execution.progress
    items = f"{view.processed_items} of {view.total_items or '?'}" if view.processed_items is not None else None
    described = {
        "done": f"{view.percent:.0f} %" if view.percent is not None else None,
        "items": items,
        "at": view.current_item,
        "message": view.message,
    }
    return [(name, value) for name, value in described.items() if value]


def timeline(history: Sequence[Event], zone: tzinfo | None) -> list[Node]:
    """Fold events into the nodes of a timeline: progress within one step is one node, the last word of it."""
    nodes: list[Node] = []
    step, told = None, 0
    for event in history:
        line = tell(event, step)
        facts = written_facts(line.facts, zone)
        words = " ".join(f"{name}={value}" for name, value in facts.items() if name not in {"job", "run"})
        is_more = isinstance(event, events.Progress) and told > 0 and line.level == "debug"
        told = told + 1 if is_more else int(isinstance(event, events.Progress))
        step = getattr(event, "step", None) or step
        node = Node(
            offset=(event.at - history[0].at) / timedelta(seconds=1),
            what=f"{line.what}{f' ×{told}' if told > 1 else ''} {words}".rstrip(),
            position=event.position,
        )
        nodes[-1:] = [node] if is_more else [*nodes[-1:], node]
    return nodes


def in_json(value: Any) -> str:
    """Write a value as JSON in one line; text as it is."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _section(console: Console, title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print names and values below each other; values keep their lines and are folded, never cut."""
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
