"""The language of messages, from the Accept-Language header of a request."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import msgspec

from gnomon.wire.records import HistoryPage, RecordPage


class Message(msgspec.Struct, frozen=True):
    """A message in both languages; `{n}` stands for the number of entries in the answer."""

    chinese: str
    english: str

    def text(self, body: Any, *, is_chinese: bool) -> str:
        """Return the message about an answer."""
        return (self.chinese if is_chinese else self.english).format(n=_entries(body))


def prefers_chinese(accept_language: str | None) -> bool:
    """Return whether a client prefers Chinese to all other languages; Chinese is also for those that do not say."""
    if accept_language is None:
        return True
    languages: list[tuple[float, str]] = []
    for entry in accept_language.split(","):
        name, _, parameters = entry.strip().partition(";")
        try:
            quality = float(parameters.strip().removeprefix("q=")) if parameters else 1.0
        except ValueError:
            quality = 0.0
        if name and quality > 0:
            languages.append((quality, name.strip().lower()))
    if not languages:
        return True
    best = max(quality for quality, _ in languages)
    first = next(name for quality, name in languages if quality == best)
    return first == "*" or first.split("-")[0] == "zh"


def _entries(body: Any) -> int:
    if isinstance(body, RecordPage):
        return len(body.items)
    if isinstance(body, HistoryPage):
        return len(body.history)
    return len(body) if isinstance(body, Sized) else 0
