"""Signs and colours of states, and the facts of log lines; times and durations come from `gnomon.text`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from gnomon.domain.execution import Execution
from gnomon.text import length, moment

GLYPHS = {
    "scheduled": "…",
    "running": "▶",
    "success": "✔",
    "failed": "✘",
    "missed": "○",
    "cancelled": "■",
    "snoozed": "↻",
    "active": "●",
    "paused": "‖",
    "new": "+",
    "changed": "~",
    "overdue": "!",
    "enabled": "●",
    "installed": "○",
    "incomplete": "◌",
    "online": "●",
    "stopping": "◐",
    "gone": "✘",
}
STYLES = {
    "running": "cyan",
    "success": "green",
    "failed": "red",
    "missed": "yellow",
    "cancelled": "magenta",
    "snoozed": "blue",
    "paused": "yellow",
    "overdue": "yellow",
    "enabled": "green",
    "online": "green",
    "stopping": "yellow",
    "gone": "red",
}


def state_of(execution: Execution) -> str:
    """Return the state of a run in a word: its status, or that it was snoozed."""
    return "snoozed" if execution.is_snoozed else execution.status


def with_glyph(state: str) -> str:
    """Return a state with its sign in front, so that colour never carries the meaning alone."""
    return f"{GLYPHS[state]} {state}" if state in GLYPHS else state


def style_of(state: str) -> str:
    """Return the colour of a state, as rich names it."""
    return STYLES.get(state, "")


def format_facts(facts: Mapping[str, Any], zone: tzinfo | None) -> dict[str, Any]:
    """Return facts with times and durations written for people: `took_s=0.086` becomes `took=86 ms`."""
    formatted: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, datetime):
            formatted[name] = moment(value, zone, milliseconds=True)
        elif name.endswith("_s") and isinstance(value, int | float):
            formatted[name.removesuffix("_s")] = length(value)
        else:
            formatted[name] = value
    return formatted
