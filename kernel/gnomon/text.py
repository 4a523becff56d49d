"""Text that comes from bodies and plugins, made fit to be kept: writable as UTF-8, and of bounded size."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo
from difflib import get_close_matches


def writable(text: str) -> str:
    """Escape what stores cannot take: lone surrogates are no UTF-8, and a NUL ends a text for many readers."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def shorten(text: str, limit: int) -> str:
    """Make a text writable, and keep both ends of one longer than `limit` characters, saying how much is left out."""
    text = writable(text)
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like `word`, whatever its case; None if none is like it."""
    by_lower = {name.lower(): name for name in known}
    return next((by_lower[found] for found in get_close_matches(word.lower(), by_lower, n=1)), None)


def close_match(word: str, known: Iterable[str]) -> str:
    """Say `; did you mean 'it'?` where something known is spelled nearly so, else nothing."""
    hint = nearest(word, known)
    return f"; did you mean {hint!r}?" if hint else ""


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
