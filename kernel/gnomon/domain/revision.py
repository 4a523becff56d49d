"""Revisions of a program: what orders the definitions of processes that share a log."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from gnomon.errors import ParameterError
from gnomon.safe_text import safe_repr

EXPECTED = 'a whole number such as 42, a version such as "2.4.1", or a time such as "2026-11-29T18:00:00Z"'
_VERSION = re.compile(r"v?(\d{1,30}(?:\.\d{1,30}){0,7})", re.ASCII)
SHOWN = 60
"""Characters of a value that a message shows."""


@dataclass(frozen=True, order=True, slots=True)
class Revision:
    """A revision, ordered as numbers are: 9 < 10, 2.9 < 2.10, 2.4 = 2.4.0, and a time counts as seconds since 1970.

    So a program may change from numbers or versions to times, not back. `text` is the revision as it was written.
    """

    key: tuple[int, ...]
    text: str = field(compare=False)

    @classmethod
    def parse(cls, value: object) -> Self:
        """Parse a number, a version or a time; ValueError for what has no order, such as the hash of a commit."""
        text = str(value) if type(value) is int else value
        if isinstance(text, datetime):
            text = text.isoformat()
        if not isinstance(text, str):
            hint = "; write versions in quotes: 2.10 is the number 2.1" if isinstance(value, float) else ""
            raise ValueError(f"expected {EXPECTED}, got {safe_repr(value, SHOWN)}{hint}")
        text = text.strip()
        if (found := _VERSION.fullmatch(text)) is not None:
            return cls(_without_zeros(int(part) for part in found[1].split(".")), text)
        try:
            moment = datetime.fromisoformat("" if text.isdigit() else text)
        except ValueError:
            got = safe_repr(value, SHOWN)
            hint = "revisions must have an order: take the number of the build or the time of the commit, not its hash"
            raise ValueError(f"expected {EXPECTED}, got {got}; {hint}") from None
        if moment.tzinfo is None:
            raise ValueError(f"expected a time with a time zone, such as 2026-11-29T18:00:00Z, got {text}")
        since = moment - datetime.fromtimestamp(0, UTC)
        return cls(_without_zeros((since.days * 86_400 + since.seconds, since.microseconds)), text)

    def __str__(self) -> str:
        return self.text


def revision_of(value: object) -> Revision | None:
    """Return the revision that a program has given, None where it has given none; ParameterError."""
    try:
        return Revision.parse(value) if value is not None else None
    except ValueError as exc:
        raise ParameterError("revision", f"revision: {exc}") from None


def _without_zeros(parts: Iterable[int]) -> tuple[int, ...]:
    key = list(parts)
    while len(key) > 1 and key[-1] == 0:
        key.pop()
    return tuple(key)
