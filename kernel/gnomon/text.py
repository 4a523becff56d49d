"""Text: cleaned and shortened for the log, suggested for typos, and written for people to read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, tzinfo
from difflib import get_close_matches
from typing import Any

# --- text of bodies and plugins, before it is stored ---


def writable(text: str) -> str:
    """Return text with everything escaped that a store cannot hold: lone surrogates and NUL characters."""
    return str.encode(text, "utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def is_writable(value: Any) -> bool:
    """Return whether all texts in JSON data can be written: none has half a character, a lone surrogate."""
    if isinstance(value, str):
        try:
            str.encode(value)
        except UnicodeEncodeError:
            return False
        return True
    if isinstance(value, Mapping):
        return all(is_writable(key) and is_writable(nested) for key, nested in value.items())
    return all(map(is_writable, value)) if isinstance(value, list | tuple) else True


def shorten(text: str, limit: int) -> str:
    """Return writable text of about `limit` characters at most: the middle of a longer one is left out."""
    text = writable(text)
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def shorten_line(text: str, limit: int) -> str:
    """Return the first line of a text that is not empty, shortened to about `limit` characters."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    return " ".join(shorten(line, limit).split())


# --- foreign text, before it is shown ---

# Characters that move the cursor, start an escape sequence, end a line, change the direction of the text, or are not
# seen: C0 and C1 controls, bidirectional controls, line separators, spaces of no width, and lone surrogates. The
# joiners U+200C and U+200D stay: several scripts and emoji need them. `clean` of the dashboard has the same set.
_UNSAFE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff"
_UNSAFE_IN_LINES = re.compile(f"[{_UNSAFE}]")
_UNSAFE_IN_A_LINE = re.compile(f"[{_UNSAFE}\n\t]")


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return text that is safe to show: control characters are written as `\x1b` or `\u202e`.

    Use it for whatever comes from jobs, plugins and clients, wherever it reaches a terminal or a log. With `lines`,
    line breaks and tabs stay; without, the text is one line.
    """
    if text.isprintable():  # nothing of the above is
        return text
    if lines:
        return _UNSAFE_IN_LINES.sub(_escape, text.replace("\r\n", "\n"))
    return _UNSAFE_IN_A_LINE.sub(_escape, text)


def visible_json(text: str) -> str:
    """Return the same JSON with every character escaped that `visible` would write out."""
    return text if text.isprintable() else _UNSAFE_IN_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


# --- suggestions for unknown names ---

LONGEST_TYPO = 200
"""Characters of a word for which a similar one is looked up; for a pasted text that would take seconds."""


def nearest(word: object, known: Iterable[str]) -> str | None:
    """Return the known word that is spelled most like `word`, ignoring case, or None if none is similar."""
    if not isinstance(word, str) or len(word) > LONGEST_TYPO:  # such as a key of a table in code, or a pasted text
        return None
    by_lower = {name.lower(): name for name in known}
    return next((by_lower[found] for found in get_close_matches(word.lower(), by_lower, n=1)), None)


def close_match(word: object, known: Iterable[str]) -> str:
    """Return `; did you mean 'it'?` for the end of an error message, or an empty text if no known word is similar."""
    hint = nearest(word, known)
    return f"; did you mean {hint!r}?" if hint else ""


# --- times and durations ---


def moment(at: datetime | None, zone: tzinfo | None, *, seconds: bool | None = None, milliseconds: bool = False) -> str:
    """Return a time in a zone, or in the zone of this machine: `2026-12-01 18:00 +08`; None becomes `-`.

    By default seconds are shown if they are not zero; with `milliseconds` those are too.
    """
    if at is None:
        return "-"
    local = at.astimezone(zone)
    if milliseconds and local.microsecond:
        return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03}{_offset(local)}"
    shows_seconds = seconds if seconds is not None else bool(local.second or local.microsecond)
    return f"{local:%Y-%m-%d %H:%M:%S}{_offset(local)}" if shows_seconds else f"{local:%Y-%m-%d %H:%M}{_offset(local)}"


def length(seconds: float | timedelta | None) -> str:
    """Return a duration with its two largest units: `3 ms`, `1.2 s`, `5 m 03 s`, `2 h 05 m`, `3 d 4 h`; None is `-`."""
    if seconds is None:
        return "-"
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    if seconds > 36_525 * 86_400:
        return "over 100 years"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} m" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def span(low: float, high: float) -> str:
    """Return a range of durations, rounded as much as it is wide: `2 to 3 m`, `40 to 55 s`, `about 3 m`."""
    unit, size = next(
        ((unit, size) for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)) if high >= 1.5 * size), ("s", 1)
    )
    first, last = round(low / size), max(round(high / size), 1)
    return f"about {last} {unit}" if first == last else f"{first} to {last} {unit}"


def _offset(local: datetime) -> str:
    offset = local.utcoffset() or timedelta()
    if not offset and local.tzname() == "UTC":
        return " UTC"
    hours, minutes = divmod(abs(round(offset / timedelta(minutes=1))), 60)
    return f" {'-' if offset < timedelta() else '+'}{hours:02}" + (f":{minutes:02}" if minutes else "")
