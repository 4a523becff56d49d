"""How states are shown to people; times and durations are written as `gnomon.text` does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from gnomon.errors import TriggerError
from gnomon.scheduling.timezones import parse_timezone
from gnomon.text import length, moment

GLYPHS = {
    "scheduled": "…",
    "running": "▶",
    "success": "✔",
    "failed": "✘",
    "missed": "○",
    "cancelled": "■",
    "active": "●",
    "paused": "‖",
    "new": "+",
    "changed": "~",
    "overdue": "!",
    "enabled": "●",
    "installed": "○",
    "incomplete": "◌",
}
STYLES = {
    "running": "cyan",
    "success": "green",
    "failed": "red",
    "missed": "yellow",
    "cancelled": "magenta",
    "paused": "yellow",
    "overdue": "yellow",
    "enabled": "green",
}


def with_glyph(state: str) -> str:
    """Put a state's sign before its word, so that colour never carries the meaning alone."""
    return f"{GLYPHS[state]} {state}" if state in GLYPHS else state


def style_of(state: str) -> str:
    """Return the colour of a state, as rich names it."""
    return STYLES.get(state, "")


def zone_of(name: str | None) -> tzinfo:
    """Return a zone by name; UTC where there is none of that name any more, for old logs can be read too."""
    try:
        return parse_timezone(name or "UTC")
    except TriggerError:
        return parse_timezone("UTC")


def written_facts(facts: Mapping[str, Any], zone: tzinfo | None) -> dict[str, Any]:
    """Write the times and durations among facts as people read them: `took_s=0.086` becomes `took=86 ms`."""
    written: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, datetime):
            written[name] = moment(value, zone, milliseconds=True)
        elif name.endswith("_s") and isinstance(value, int | float):
            written[name.removesuffix("_s")] = length(value)
        else:
            written[name] = value
    return written
