"""The span of time that a question is about: a day, or the minute or second that a moment stands for."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, tzinfo

from gnomon.durations import MICROSECOND
from gnomon.scheduling.timezones import change_at, instants

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def span_of(asked: datetime | date, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the start and the end of what was asked about; a naive moment is a wall time of the zone."""
    if not isinstance(asked, datetime):
        return start_of(asked, zone), start_of(asked + timedelta(days=1), zone)
    start = asked if asked.tzinfo is not None else asked.replace(tzinfo=zone)
    return start, start + width_of(start)


def width_of(instant: datetime) -> timedelta:
    """Return the length of time that an instant stands for, by its precision: a minute, a second or itself."""
    return MICROSECOND if instant.microsecond else SECOND if instant.second else MINUTE


def start_of(day: date, zone: tzinfo) -> datetime:
    """Return the first instant of a day, which is later than midnight where the clocks skip midnight."""
    wall_time = datetime.combine(day, time())
    found = instants(zone, wall_time)
    change = change_at(zone, wall_time)
    return found[0] if found or change is None else change.at
