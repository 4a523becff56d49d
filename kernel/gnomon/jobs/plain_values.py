"""Values of a schedule as programs have them: time zones as objects, and dates where a time is meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any

from gnomon.errors import TriggerError
from gnomon.safe_text import safe_repr

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NUMBER = re.compile(r"\s*-?\d+(\.\d*)?\s*", re.ASCII)


def zone_name(zone: Any) -> Any:
    """Return the name of a time zone that is given as an object; TriggerError for one without a name."""
    if not isinstance(zone, tzinfo):
        return zone
    name = "UTC" if zone is UTC else getattr(zone, "key", None) or getattr(zone, "zone", None)  # of pytz
    if not isinstance(name, str):
        raise TriggerError(
            f"timezone {safe_repr(zone)} has no name: expected an IANA name such as 'Europe/Berlin', or a ZoneInfo"
        )
    return name


def first_moment(value: Any) -> Any:
    """Return the begin of a date; any other value as it is."""
    return _moment(value, time())


def last_moment(value: Any) -> Any:
    """Return the end of a date, which is part of the schedule; any other value as it is."""
    return _moment(value, time.max)


def _moment(value: Any, of_day: time) -> Any:
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            value = date.fromisoformat(value)
        except ValueError as exc:
            raise TriggerError(f"{value!r} is not a date: {exc}") from exc
    if isinstance(value, str) and _NUMBER.fullmatch(value):  # which would pass for seconds since 1970
        raise TriggerError(f"expected a time such as 2026-12-01T18:00:00+08:00, got {value!r}")
    return datetime.combine(value, of_day) if type(value) is date else value


PREPARED: Mapping[str, Callable[[Any], Any]] = {
    "timezone": zone_name,
    "at": first_moment,
    "start": first_moment,
    "end": last_moment,
}
"""Returns the value of a key as a Job holds it."""
