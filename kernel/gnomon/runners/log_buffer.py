"""The log lines of a run, bounded in number and size, and the progress that is read from them."""

from __future__ import annotations

import math
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any

from gnomon.domain.records import LogLine
from gnomon.jobs.job import ProgressPattern

MAX_LINES = 2_000
MAX_CHARACTERS = 512 * 1024
MAX_LINE_CHARACTERS = 8 * 1024
"""Limits of one run, unless `log_lines` of the kernel says otherwise: only its newest lines are kept. Line numbers show
how many older lines were dropped."""
LARGEST_LOG = 1_000_000
"""Lines that `log_lines` may be, at most."""

LARGEST_COUNT = 2**63 - 1


class LogBuffer:
    """The newest lines of one run. Any thread may add lines; the kernel flushes new ones to the store.

    `most_lines` are kept, with as many characters for each as a line has by default.
    """

    def __init__(self, last_number: int = 0, most_lines: int = MAX_LINES) -> None:
        self._most_lines = most_lines
        self._most_characters = MAX_CHARACTERS * most_lines // MAX_LINES
        self._lock = threading.Lock()
        self._lines: deque[LogLine] = deque()
        self._size = 0
        self._oldest = 1
        self._last_number = self._flushed = last_number

    def add(self, at: datetime, level: str, text: str, logger: str, number: int | None = None) -> bool:
        """Add one line and drop the oldest lines beyond the limits; False for one whose number is already taken."""
        if len(text) > MAX_LINE_CHARACTERS:
            text = f"{text[:MAX_LINE_CHARACTERS]} … {len(text) - MAX_LINE_CHARACTERS} characters left out"
        with self._lock:
            number = number if number is not None else self._last_number + 1
            if number <= self._last_number:
                return False
            self._last_number = number
            self._lines.append(LogLine(self._last_number, at, level, text, logger))
            self._size += len(text)
            while len(self._lines) > self._most_lines or self._size > self._most_characters:
                dropped = self._lines.popleft()
                self._size -= len(dropped.text)
                self._oldest = dropped.number + 1
        return True

    def unflushed(self) -> tuple[list[LogLine], int]:
        """Return the lines that are not in the store yet, and the number of the oldest line kept."""
        with self._lock:
            newest_first = takewhile(lambda line: line.number > self._flushed, reversed(self._lines))
            return list(newest_first)[::-1], self._oldest

    @property
    def flushed(self) -> int:
        """The number of the last line that is in the store."""
        return self._flushed

    def mark_flushed(self, lines: Sequence[LogLine]) -> None:
        """Record that these lines are in the store."""
        self._flushed = max(self._flushed, lines[-1].number)


class ProgressReader:
    """Reads progress from the log lines of a run, by the patterns of its job."""

    def __init__(self, patterns: Sequence[ProgressPattern]) -> None:
        self._patterns = [(re.compile(pattern.match), pattern) for pattern in patterns]

    def read(self, text: str) -> dict[str, Any]:
        """Return the fields of a progress event that the first matching pattern finds in a line."""
        for expression, pattern in self._patterns:
            if (match := expression.search(text)) is not None:
                fixed = {"step": pattern.step, "message": pattern.message, "percent": pattern.percent}
                found = {**fixed, **match.groupdict()}
                fields = {name: _convert(name, value) for name, value in found.items() if value is not None}
                return {name: value for name, value in fields.items() if value is not None}
        return {}


def _convert(field: str, value: Any) -> Any:
    """Convert a value to the type of a progress field; None for an unknown field and for a value that does not fit."""
    try:
        return _CONVERTERS[field](value)
    except (KeyError, ValueError, OverflowError):
        return None


def _number(value: Any) -> float:
    number = float(str(value).rstrip("%").replace(",", ""))
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, got {value}: JSON has no other")
    return number


def _count(value: Any) -> int:
    return bounded_count(int(_number(value)))


def bounded_count(value: int) -> int:
    """Return the value, or the nearest one that every store can hold as an integer."""
    return max(min(int(value), LARGEST_COUNT), -LARGEST_COUNT)


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "percent": _number,
    "message": str,
    "step": str,
    "current_item": str,
    "processed_items": _count,
    "total_items": _count,
}
