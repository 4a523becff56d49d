"""Time zones and their clock changes: wall times in a gap do not exist, those in a repeat occur twice."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from gnomon.errors import TriggerError
from gnomon.text import nearest

SECOND = timedelta(seconds=1)
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
"""Bounds of all fires: beyond them some time zones have no date for the instant."""
WEEK = timedelta(weeks=1)
"""Two clock changes of one zone are at least 20 days apart (Cairo in 2010), so steps of a week do not skip one."""
NEAR = timedelta(days=1)
"""Longer than every clock change, and shorter than the time between two of them."""


class ClockChange(msgspec.Struct, frozen=True):
    """An instant at which the clocks of a zone go forward, which makes a `gap`, or back, which makes a `repeat`.

    `first` and `last` bound the wall times that do not exist or occur twice (first <= wall time < last); naive.
    """

    kind: Literal["gap", "repeat"]
    timezone: str
    at: datetime
    first: datetime
    last: datetime
    before: str
    after: str

    def touches(self, wall_time: datetime) -> bool:
        """Return whether this change makes a naive wall time not exist, or occur twice."""
        return self.first <= wall_time < self.last

    def __str__(self) -> str:
        shown, then = (self.first, self.last) if self.kind == "gap" else (self.last, self.first)
        direction = "forward" if self.kind == "gap" else "back"
        return (
            f"on {self.first:%Y-%m-%d} the clocks of {self.timezone} go {direction} from {shown:%H:%M} to {then:%H:%M} "
            f"({self.before} becomes {self.after})"
        )


def expect_within_calendar(asked: datetime | date) -> None:
    """Raise ValueError for a time or a day so near to an end of the calendar that some zones have no date around it."""
    if not EARLIEST.year < asked.year < LATEST.year:
        raise ValueError(
            f"expected a time in the years {EARLIEST.year + 1} to {LATEST.year - 1}, got {asked.isoformat()}"
        )


def next_clock_change(zone: tzinfo, start: datetime, end: datetime) -> datetime | None:
    """Return the first instant in start < instant <= end at which the zone's offset changes."""
    offset = start.astimezone(zone).utcoffset()
    while start < end:
        probe = min(start + WEEK, end)
        if probe.astimezone(zone).utcoffset() != offset:
            return _bisect_change(zone, start, probe)
        start = probe
    return None


def changes_between(zone: tzinfo, start: datetime, end: datetime) -> list[ClockChange]:
    """List the changes in start < change <= end."""
    found = []
    while (at := next_clock_change(zone, start, end)) is not None:
        found.append(_describe(zone, at))
        start = at
    return found


def change_at(zone: tzinfo, wall_time: datetime) -> ClockChange | None:
    """Return the change that makes a naive wall time not exist, or occur twice."""
    about = wall_time.replace(tzinfo=zone).astimezone(UTC)
    return next((c for c in changes_between(zone, about - NEAR, about + NEAR) if c.touches(wall_time)), None)


def instants(zone: tzinfo, wall_time: datetime) -> list[datetime]:
    """List the instants at which the clocks show a naive wall time: none in a gap, two in a repeat."""
    found = {wall_time.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(at for at in found if wall_clock(zone, at) == wall_time)


def first_instant(zone: tzinfo, wall_time: datetime) -> datetime:
    """Return the first instant, in UTC, at which the clocks show the wall time or, if they skip it, a later one."""
    instant = wall_time.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if wall_clock(zone, instant) == wall_time:
        return instant
    # In a gap, fold=1 uses the offset after the gap, which gives an instant before it; fold=0 the reverse (PEP 495).
    return _bisect_change(zone, wall_time.replace(tzinfo=zone, fold=1).astimezone(UTC), instant)


def wall_clock(zone: tzinfo, instant: datetime) -> datetime:
    """Return the wall time of the zone at an instant, as a naive datetime."""
    return instant.astimezone(zone).replace(tzinfo=None)


def _bisect_change(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    old = before.astimezone(zone).utcoffset()
    while after - before > SECOND:
        middle = before + timedelta(seconds=(after - before) // SECOND // 2)
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after


def _describe(zone: tzinfo, at: datetime) -> ClockChange:
    after = at.astimezone(zone)
    before = (at - SECOND).astimezone(zone)
    wall, old, new = after.replace(tzinfo=None), before.utcoffset() or timedelta(), after.utcoffset() or timedelta()
    other = wall - (new - old)
    return ClockChange(
        kind="gap" if new > old else "repeat",
        timezone=str(zone),
        at=at,
        first=min(wall, other),
        last=max(wall, other),
        before=_offset(before),
        after=_offset(after),
    )


def _offset(local: datetime) -> str:
    return local.isoformat(timespec="seconds")[19:]


def parse_timezone(name: str) -> ZoneInfo:
    """Return the zone with this IANA name; for an unknown name TriggerError suggests a similar one."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as problem:  # a folder of zones ("Europe") is an OSError
        known = available_timezones()
        cities = {zone.rpartition("/")[2].lower(): zone for zone in sorted(known)}
        hint = cities.get(name.lower()) or nearest(name, known)
        raise TriggerError(
            f"unknown time zone {name!r}; use an IANA name"
            + (f", perhaps {hint!r}" if hint else ' such as "Asia/Shanghai"')
            + ("" if known else "; this machine has no time zones: install tzdata")
        ) from problem


def timezone_or_utc(name: str | None) -> ZoneInfo:
    """Return the zone with this name, or UTC if there is none: old logs may name zones that no longer exist."""
    try:
        return parse_timezone(name or "UTC")
    except TriggerError:
        return parse_timezone("UTC")
