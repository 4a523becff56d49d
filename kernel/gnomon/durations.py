"""Durations in configs: "500ms", "10s", "5m", "2h", "1d", "1h 30m", or a number of seconds."""

from __future__ import annotations

import functools
import re
from datetime import datetime, timedelta
from typing import Any, Self

MICROSECOND = timedelta.resolution
LONGEST = timedelta(days=timedelta.max.days)
SHOWN = 60
"""Characters of a value that a message shows."""
LONGEST_RUN = timedelta(days=36_525)
"""A hundred years: a run that took longer is damage, and is counted as one of this length."""
LONGEST_DELAY = timedelta(days=3650)
"""The limit of every delay of a later run: of a retry, which grows with each attempt, and of a snooze. One that is too
long would exceed the calendar."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|[smhdw])", re.ASCII)


class Duration(timedelta):
    """A timedelta that is parsed from such text and written as such text."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Parse text or a number of seconds; raise ValueError for anything else."""
        if isinstance(value, timedelta):
            if not timedelta() <= value <= LONGEST:  # what is written must be read again
                raise cls._out_of_range(value)
            return value if type(value) is cls else cls(value.days, value.seconds, value.microseconds)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return cls._bounded(value, value)
        if isinstance(value, str) and value.strip():
            seconds, at = 0.0, 0
            while at < len(value) and (part := _PART.match(value, at)):
                seconds += float(part[1]) * _UNITS[part[2]]
                at = part.end()
            if not value[at:].strip():
                return cls._bounded(value, seconds)
        raise ValueError(
            f'expected a duration such as "500ms", "10s", "1h 30m" or a number of seconds, got {_shown(value)}'
        )

    @classmethod
    def _bounded(cls, value: object, seconds: float) -> Self:
        try:
            if seconds >= 0:
                return cls(seconds=seconds)
        except (OverflowError, ValueError):  # more than a timedelta can hold, or NaN
            pass
        raise cls._out_of_range(value)

    @staticmethod
    def _out_of_range(value: object) -> ValueError:
        return ValueError(f"expected a duration from 0 to {LONGEST.days} days, got {_shown(value)}")

    def __str__(self) -> str:
        return _written(self)


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # more digits than Python converts
        return "a number with thousands of digits"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


@functools.lru_cache  # shared, like parsed durations
def _written(duration: timedelta) -> str:
    whole, micros = divmod(duration, timedelta(seconds=1))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count}{unit}")
    if micros:
        parts.append(f"{micros / timedelta(milliseconds=1):g}ms")
    return " ".join(parts) or "0s"


def snooze_delay(value: object) -> Duration:
    """Return the delay of a snooze; ValueError for one that is not a duration, not positive or too long."""
    if isinstance(value, datetime):
        raise ValueError(f"a snooze takes a delay, got the time {value}: pass the difference from now")
    try:
        delay = Duration.parse(value)
    except ValueError as exc:
        raise ValueError(f'a snooze takes a delay such as "10m", timedelta(minutes=10) or 600: {exc}') from None
    if not timedelta() < delay <= LONGEST_DELAY:
        raise ValueError(f"the delay of a snooze is more than 0 and at most {LONGEST_DELAY.days} days, got {delay}")
    return delay


def decode_hook(expected: type, value: Any) -> Any:
    """Decode Duration fields, for msgspec."""
    if expected is Duration:
        return shared_duration(value) if type(value) is timedelta else Duration.parse(value)
    raise NotImplementedError


shared_duration = functools.lru_cache(Duration.parse)  # most of 100,000 jobs share a few durations


def encode_hook(value: Any) -> Any:
    """Encode Duration fields, for msgspec."""
    if isinstance(value, Duration):
        return str(value)
    raise NotImplementedError
