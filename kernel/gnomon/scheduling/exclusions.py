"""What a job excludes from its schedule: dates, ranges, minutes of a cron expression, and closed days of a calendar."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import msgspec

from gnomon.durations import MICROSECOND
from gnomon.errors import TriggerError
from gnomon.scheduling.calendars import find_calendar
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.limited_triggers import Exclusion
from gnomon.scheduling.timezones import first_instant, wall_clock
from gnomon.scheduling.triggers import in_utc
from gnomon.text import moment, nearest

DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
KEYS = ("from", "to", "cron", "calendar")
EXAMPLES = (
    'write a date such as 2026-12-24, a range { from = 2026-12-24, to = 2027-01-02 }, { cron = "* * * * 6,0" } or '
    '{ calendar = "NYSE" }'
)
FIVE_FIELDS = 5
_NEVER = datetime.max.replace(tzinfo=UTC)


class ExcludedPeriod(msgspec.Struct, frozen=True):
    """Excludes fires from `first` to `last`: dates of the zone, both included, or instants, of which `last` is not.

    None stands for an open side.
    """

    first: date | None
    last: date | None
    zone: tzinfo

    def ends_after(self, fire: datetime) -> datetime | None:
        """Return the end of the period if a fire lies in it."""
        # By the wall clock: where it repeats the time around midnight, the instants of a date are not one period.
        day = fire.astimezone(self.zone).date()
        if isinstance(self.first, datetime):
            if fire < self.first:
                return None
        elif self.first is not None and day < self.first:
            return None
        if self.last is None:
            return _NEVER
        if isinstance(self.last, datetime):
            return self.last if fire < self.last else None
        return _later(fire, _begin_of(self.last + DAY, self.zone), self.zone) if day <= self.last else None

    def explain(self) -> str:
        """Describe the period: `on 2026-12-24`, `from 2026-12-24 to 2027-01-02`."""
        if self.first is not None and self.first == self.last:
            return f"on {self.first}"
        words = [f"from {self._in_words(self.first)}"] if self.first is not None else []
        words += [f"to {self._in_words(self.last)}"] if self.last is not None else []
        return " ".join(words)

    def _in_words(self, at: date) -> str:
        return moment(at, self.zone, milliseconds=True) if isinstance(at, datetime) else str(at)


class ExcludedInstant(msgspec.Struct, frozen=True):
    """Excludes one fire."""

    at: datetime
    zone: tzinfo

    def ends_after(self, fire: datetime) -> datetime | None:
        """Return the instant after the fire, if it is this one."""
        return fire + MICROSECOND if fire == self.at else None

    def explain(self) -> str:
        """Describe the instant."""
        return f"at {moment(self.at, self.zone, milliseconds=True)}"


class ExcludedMinutes(msgspec.Struct, frozen=True):
    """Excludes fires in each minute that a cron expression names; with six fields, in each second."""

    cron: CronTrigger

    def ends_after(self, fire: datetime) -> datetime | None:
        """Return the end of the second, minute, hour or day that the expression names as a whole."""
        zone, fields = self.cron.timezone, self.cron.fields
        wall_time = wall_clock(zone, fire).replace(microsecond=0)
        if len(fields) != FIVE_FIELDS:
            return fire.replace(microsecond=0) + SECOND if self.cron.names(wall_time) else None
        if not self.cron.names(wall_time.replace(second=0)):
            return None
        if fields[:2] == ["*", "*"]:
            return _later(fire, _begin_of(wall_time.date() + DAY, zone), zone)
        return _end_of(HOUR if fields[0] == "*" else MINUTE, fire, zone)

    def explain(self) -> str:
        """Describe the times."""
        return f'at the times of "{self.cron.expression}" ({self.cron.timezone})'


class ClosedDays(msgspec.Struct, frozen=True):
    """Excludes fires on the days on which a calendar is closed."""

    calendar: str

    def ends_after(self, fire: datetime) -> datetime | None:
        """Return the end of the closed day."""
        return find_calendar(self.calendar).closed_until(fire)

    def explain(self) -> str:
        """Describe the days."""
        return f"on days on which {self.calendar} is closed"


def read_exclusion(given: object, zone: tzinfo) -> Exclusion:
    """Read one entry of `exclude`; TriggerError for one that is not valid. Times without an offset are of the zone."""
    if isinstance(given, Mapping):
        return _read_table(given, zone)
    at = _read_time(given)
    return ExcludedInstant(to_instant(at, zone), zone) if isinstance(at, datetime) else ExcludedPeriod(at, at, zone)


def _read_table(given: Mapping[str, object], zone: tzinfo) -> Exclusion:
    for key in given:
        if key not in KEYS:
            hint = nearest(str(key), KEYS)
            perhaps = f", perhaps {hint!r}" if hint else ""
            raise TriggerError(f"an exclusion has no key {key!r}{perhaps}; {EXAMPLES}")
    match given:
        case {"cron": str(expression)} if len(given) == 1:
            return ExcludedMinutes(CronTrigger(expression, zone))
        case {"calendar": str(name)} if len(given) == 1:
            find_calendar(name)
            return ClosedDays(name)
        case {"from": _} | {"to": _} if given.keys() <= {"from", "to"}:
            return _read_range(given, zone)
    raise TriggerError(f"{dict(given)!r} is not an exclusion: {EXAMPLES}")


def _read_range(given: Mapping[str, object], zone: tzinfo) -> Exclusion:
    first, last = (_read_bound(given, key, zone) for key in ("from", "to"))
    if first is not None and last is not None and _is_empty(first, last, zone):
        raise TriggerError(f"the range from {given['from']} to {given['to']} is empty: `to` must be later than `from`")
    return ExcludedPeriod(first, last, zone)


def _read_bound(given: Mapping[str, object], key: str, zone: tzinfo) -> date | None:
    if key not in given:
        return None
    at = _read_time(given[key], f"{key}: ")
    return to_instant(at, zone) if isinstance(at, datetime) else at


def _is_empty(first: date, last: date, zone: tzinfo) -> bool:
    if isinstance(last, datetime):
        return to_instant(first, zone) >= last
    return (first.astimezone(zone).date() if isinstance(first, datetime) else first) > last


def _read_time(given: object, place: str = "") -> date:
    """Return a date, or a datetime, which is one too."""
    if isinstance(given, date):
        return given
    if isinstance(given, str):
        for read in (date.fromisoformat, datetime.fromisoformat):
            try:
                return read(given)
            except ValueError:
                continue
    raise TriggerError(f"{place}expected a date or a time, got {given!r}; {EXAMPLES}")


def to_instant(at: date, zone: tzinfo) -> datetime:
    """Return the instant of a time, or of the begin of a date; one without an offset is a wall time of the zone.

    Raises TriggerError for one that some time zones cannot show.
    """
    if not isinstance(at, datetime):
        return _begin_of(at, zone)
    if at.tzinfo is not None:
        return in_utc(at)
    try:
        return in_utc(first_instant(zone, at))
    except OverflowError:
        return in_utc(at.replace(tzinfo=UTC))


def asked_instant(at: datetime, zone: tzinfo) -> datetime:
    """Return the instant of a time that an operator asks for, as `to_instant`; `fold=1` is the second pass.

    The log keeps no fold, so the times of definitions have none.
    """
    if at.tzinfo is None and at.fold:
        second = at.replace(tzinfo=zone).astimezone(UTC)
        if wall_clock(zone, second) == at.replace(fold=0):
            return in_utc(second)
    return to_instant(at, zone)


def _begin_of(day: date, zone: tzinfo) -> datetime:
    return to_instant(datetime.combine(day, time()), zone)


def _later(fire: datetime, end: datetime, zone: tzinfo) -> datetime:
    """Return an end if it is later than a fire; else the next minute, for clocks that go back over midnight."""
    return end if end > fire else _end_of(MINUTE, fire, zone)


def _end_of(unit: timedelta, fire: datetime, zone: tzinfo) -> datetime:
    """Return the end of the hour or minute of a fire by the wall clock of the zone."""
    wall_time = wall_clock(zone, fire)
    passed = wall_time - wall_time.replace(minute=0 if unit is HOUR else wall_time.minute, second=0, microsecond=0)
    end = fire + unit - passed
    # Where the clocks change within the hour, the next minute is decided by itself.
    return end if unit is MINUTE or wall_clock(zone, end) - wall_time == end - fire else _end_of(MINUTE, fire, zone)
