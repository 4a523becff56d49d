"""How times and durations are written for people, wherever they are: one way for each."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo


def moment(at: datetime | None, zone: tzinfo | None, *, seconds: bool | None = None, milliseconds: bool = False) -> str:
    """Write a time in a zone, `2026-12-01 18:00 +08`; without a zone it is that of this machine. No time: `-`.

    Seconds are written by default only where there are any; with `milliseconds` those too, where there are any.
    """
    if at is None:
        return "-"
    local = at.astimezone(zone)
    if milliseconds and local.microsecond:
        return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03}{_offset(local)}"
    shows_seconds = seconds if seconds is not None else bool(local.second or local.microsecond)
    return f"{local:%Y-%m-%d %H:%M:%S}{_offset(local)}" if shows_seconds else f"{local:%Y-%m-%d %H:%M}{_offset(local)}"


def length(seconds: float | timedelta | None) -> str:
    """Write a duration with what matters of it: `3 ms`, `1.2 s`, `5 m 03 s`, `2 h 05 m`, `3 d 4 h`. Nothing: `-`."""
    if seconds is None:
        return "-"
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} m" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def _offset(local: datetime) -> str:
    offset = local.utcoffset() or timedelta()
    if not offset and local.tzname() == "UTC":
        return " UTC"
    hours, minutes = divmod(abs(round(offset / timedelta(minutes=1))), 60)
    return f" {'-' if offset < timedelta() else '+'}{hours:02}" + (f":{minutes:02}" if minutes else "")
