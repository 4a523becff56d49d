"""How deeply JSON may nest.

Encoding and decoding recurse, so the depth that they can handle depends on the caller's stack: a value with 970 levels
was read in one thread and could not be written in another. JSON from outside is therefore refused beyond 64 levels.
What a log already holds is cut where it could not be read or sent otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain
from typing import Any, Final, TypeVar

T = TypeVar("T")

MAX_DEPTH: Final = 64
"""Levels of lists and objects that JSON from outside may have."""
ENVELOPE_DEPTH: Final = 8
"""Further levels for what the kernel and its server put around such a value: events, records, pages, envelopes."""
CUT: Final = f"(nested deeper than {MAX_DEPTH} levels)"
"""Stands for a part that was cut."""

# The alternatives at the end accept an unterminated text, so that no start of a match is tried twice.
_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)'
_TEXTS = re.compile(_TEXT, re.DOTALL)
_TOKENS = re.compile(_TEXT + rb"|[\[\]{}]", re.DOTALL)
_AS_LISTS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def is_text_too_deep(text: bytes, limit: int = MAX_DEPTH) -> bool:
    """Whether a valid JSON text has more than `limit` levels; takes about 10 ms for a megabyte of brackets."""
    if text.count(b"[") + text.count(b"{") <= limit:
        return False
    brackets = _TEXTS.sub(b"", text).translate(_AS_LISTS, _OTHERS)
    for _ in range(limit):
        brackets = brackets.replace(b"[]", b"")  # removes the innermost level everywhere
        if not brackets:
            return False
    return True


def is_too_deep(value: Any, limit: int = MAX_DEPTH) -> bool:
    """Whether lists, tuples and dicts nest deeper than `limit` levels. Other objects count as values without parts.

    A value that contains itself is too deep.
    """
    level = {id(value): value} if issubclass(type(value), list | tuple | dict) else {}
    for _ in range(limit):
        if not level:
            return False
        # By identity: a list that holds the same list twice, and that one again, would double with every level.
        parts = chain.from_iterable(one.values() if isinstance(one, dict) else one for one in level.values())
        level = {id(part): part for part in parts if issubclass(type(part), list | tuple | dict)}
    return bool(level)


def cut_text(text: bytes, limit: int = MAX_DEPTH + ENVELOPE_DEPTH) -> bytes:
    """Return a JSON text with CUT in place of every part that is nested deeper than `limit` levels."""
    kept: list[bytes] = []
    depth = start = 0
    for token in _TOKENS.finditer(text):
        match token[0][:1]:
            case b"[" | b"{":
                depth += 1
                if depth == limit + 1:
                    kept += text[start : token.start()], b'"%b"' % CUT.encode()
            case b"]" | b"}":
                if depth == limit + 1:
                    start = token.end()
                depth -= 1
    return b"".join([*kept, text[start:]]) if kept else text


def cut_value(value: Any, limit: int = MAX_DEPTH) -> Any:
    """Return JSON data with CUT in place of every part that is nested deeper than `limit` levels."""
    return _cut(value, limit) if is_too_deep(value, limit) else value


def _cut(value: Any, limit: int) -> Any:
    if not issubclass(type(value), list | tuple | dict):
        return value
    if limit == 0:
        return CUT
    if isinstance(value, dict):
        return {key: _cut(part, limit - 1) for key, part in value.items()}
    return [_cut(part, limit - 1) for part in value]


def decode_cut(decode: Callable[[Any], T], text: bytes | str) -> T:
    """Decode a JSON text of a log; of one that is nested too deeply to be decoded, decode what `cut_text` keeps."""
    try:
        return decode(text)
    except RecursionError:
        return decode(cut_text(text.encode() if isinstance(text, str) else text))
