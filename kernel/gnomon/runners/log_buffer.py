"""The log lines of a run, kept within bounds, and the progress that can be read from them."""

from __future__ import annotations

import math
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from gnomon.domain.records import LogLine
from gnomon.jobs.job import ProgressPattern

LINES = 2_000
CHARACTERS = 512 * 1024
LINE_LIMIT = 8 * 1024
"""What is kept of one run: the newest lines, and at most so many characters of them and of each. Their numbers tell how
many older ones were let go."""


class LogBuffer:
    """The lines of one run; any thread may add, the kernel takes what is new to the store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[LogLine] = deque()
        self._size = 0
        self._number = 0
        self._taken = 0

    def add(self, at: datetime, level: str, text: str, logger: str) -> None:
        """Add one line; older ones make room for it."""
        text = (
            text if len(text) <= LINE_LIMIT else f"{text[:LINE_LIMIT]} … {len(text) - LINE_LIMIT} characters left out"
        )
        with self._lock:
            self._number += 1
            self._kept.append(LogLine(self._number, at, level, text, logger))
            self._size += len(text)
            while len(self._kept) > LINES or self._size > CHARACTERS:
                self._size -= len(self._kept.popleft().text)

    def untaken(self) -> tuple[list[LogLine], int]:
        """Return the lines that are not in the store yet, and the number of the oldest line that is kept."""
        with self._lock:
            fresh = [line for line in self._kept if line.number > self._taken]
            return fresh, self._kept[0].number if self._kept else 1

    def took(self, lines: Sequence[LogLine]) -> None:
        """Learn that these lines are in the store."""
        self._taken = max(self._taken, lines[-1].number)


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
                told = {name: _read(name, value) for name, value in found.items() if value is not None}
                return {name: value for name, value in told.items() if value is not None}
        return {}


def _read(field: str, value: Any) -> Any:
    """Read a field of a progress event; None for a group of another name, and for what is no number."""
    try:
        return _KINDS[field](value)
    except (KeyError, ValueError, OverflowError):
        return None


def _number(value: Any) -> float:
    number = float(str(value).rstrip("%").replace(",", ""))
    if not math.isfinite(number):
        raise ValueError(f"{value} is not finite, and JSON has no such number")
    return number


def _count(value: Any) -> int:
    return int(_number(value))


_KINDS: dict[str, Callable[[Any], Any]] = {
    "percent": _number,
    "message": str,
    "step": str,
    "current_item": str,
    "processed_items": _count,
    "total_items": _count,
}
