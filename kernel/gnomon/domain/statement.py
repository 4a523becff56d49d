"""Sentences as data: a code and what it says, so that each language can word them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

_PLACE: Final = re.compile(r"\{(\w+)\}")
_OPTIONAL: Final = re.compile(r"\[([^\]]*)\]")


class Statement(msgspec.Struct, frozen=True):
    """What a sentence says: `code` names the sentence, and `values` are what is in it.

    The names of the values tell what they are: `_s` is a number of seconds, `_at` a time in ISO 8601; a value may be a
    statement itself. Others are numbers, and texts that are not translated, such as ids and reasons of people.
    """

    code: str
    values: dict[str, Statement | str | int | float] = {}


def state(code: str, /, **values: Any) -> Statement:
    """Return a statement; times become text, and values that are None are left out."""
    kept = {name: value for name, value in values.items() if value is not None}
    return Statement(code, {name: _plain(value) for name, value in kept.items()})


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


class Wording:
    """Words statements in one language by templates, such as "It failed[ after {took_s}] ({reason})".

    What is in brackets is left out where a statement does not have its values.
    """

    def __init__(
        self, templates: Mapping[str, str], *, seconds: Callable[[float], str], time: Callable[[datetime], str]
    ) -> None:
        self._templates = templates
        self._seconds = seconds
        self._time = time

    def __call__(self, statement: Statement) -> str:
        """Return the sentence; KeyError for a code or a value that there is not."""
        values = statement.values

        def if_known(part: re.Match[str]) -> str:
            return part[1] if all(name in values for name in _PLACE.findall(part[1])) else ""

        template = _OPTIONAL.sub(if_known, self._templates[statement.code])
        return _PLACE.sub(lambda found: self._value(found[1], values[found[1]]), template)

    def _value(self, name: str, value: Any) -> str:
        if isinstance(value, Statement):
            return self(value)
        if name.endswith("_s"):
            return self._seconds(value)
        if name.endswith("_at"):
            return self._time(datetime.fromisoformat(value))
        return f"{value:,}" if isinstance(value, int) else str(value)
