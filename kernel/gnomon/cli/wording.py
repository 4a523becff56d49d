"""How times, durations and states are written for people."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from gnomon.errors import TriggerError
from gnomon.zones import parse_timezone

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


def moment(at: datetime | None, zone: tzinfo | None, *, seconds: bool | None = None) -> str:
    """Write a time in a zone, `2026-12-01 18:00 +08`; seconds by default only where there are any. No time: `-`.

    Without a zone it is that of this machine.
    """
    if at is None:
        return "-"
    local = at.astimezone(zone)
    shows_seconds = seconds if seconds is not None else bool(local.second or local.microsecond)
    return f"{local:%Y-%m-%d %H:%M:%S}{_offset(local)}" if shows_seconds else f"{local:%Y-%m-%d %H:%M}{_offset(local)}"


def length(seconds: float | None) -> str:
    """Write a duration with what matters of it: `3 ms`, `1.2 s`, `5 m 03 s`, `2 h 05 m`, `3 d 4 h`. Nothing: `-`."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} m" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def zone_of(name: str | None) -> tzinfo:
    """Return a zone by name; UTC where there is none of that name any more, for old logs can be read too."""
    try:
        return parse_timezone(name or "UTC")
    except TriggerError:
        return parse_timezone("UTC")


def _offset(local: datetime) -> str:
    offset = local.utcoffset() or timedelta()
    if not offset and local.tzname() == "UTC":
        return " UTC"
    hours, minutes = divmod(abs(round(offset / timedelta(minutes=1))), 60)
    return f" {'-' if offset < timedelta() else '+'}{hours:02}" + (f":{minutes:02}" if minutes else "")
