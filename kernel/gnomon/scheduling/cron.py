"""Cron expressions, and their fires around clock changes.

An expression is matched against the wall clock of its zone. cronsim parses it and walks the calendar; this module turns
matching wall times into instants, for clock changes of any length:

* *Fixed times*: neither the minute nor the hour field starts with `*`, as in `30 2 * * *`. Each matching wall time
  fires once. Those that the clocks skip fire together, once, at the first instant after the gap (if that one matches
  too, it is the same fire). Times that the clocks repeat fire in the first pass.
* *Everything else* follows elapsed time, as in `*/15 * * * *`, `0 * * * *` or `*/30 2 * * *`: each instant whose wall
  clock matches fires, so both passes of a repeat do, and times that the clocks skip do not.

This is the rule of Debian cron, from which cronsim's own time-zone code differs (2.8): started within a repeat it goes
backwards; after Lord Howe's half-hour gap it loses fires; it returns midnights that do not exist; and it drops a fixed
time in a gap if the expression has seconds. Debian cron itself handles changes of up to three hours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from cronsim import CronSim, CronSimError

from gnomon.durations import MICROSECOND
from gnomon.errors import TriggerError
from gnomon.scheduling.timezones import LATEST, first_instant, next_clock_change, wall_clock

SECOND = timedelta(seconds=1)

CRON_EXAMPLE = 'for example "0 18 * * 1-5" is 18:00 on Monday through Friday'
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
# cronsim 2.8 parses 5-5/2 as 5/2.
ONE_VALUE_RANGE = re.compile(r"\b(\w+)-\1/\d+")
# cronsim's name for a field: its index among six, and its valid values.
FIELDS = {
    "second": (0, "0-59"),
    "minute": (1, "0-59"),
    "hour": (2, "0-23"),
    "day-of-month": (3, "1-31, L (last day) or LW (last working day)"),
    "month": (4, "1-12 or JAN-DEC"),
    "day-of-week": (5, "0-7 or SUN-SAT (0 and 7 are Sunday), 5L (last Friday) or 1#2 (second Monday)"),
}


class CronTrigger:
    """Fires by a crontab line; the docstring of the module describes clock changes.

    Five fields (minute, hour, day of month, month, day of week), six with seconds first, or a macro such as `@daily`.
    If neither day field starts with `*`, days that match either of them fire. `timezone` is a ZoneInfo or a fixed
    offset. Raises TriggerError for an expression that is not valid, or that never fires (31 February).
    """

    __slots__ = ("_search", "expression", "timezone")

    def __init__(self, expression: str, timezone: tzinfo) -> None:
        self.expression = expression
        self.timezone = timezone
        self._search = _read_cron(expression)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the first fire after the previous one; without one, the first at or after `now`."""
        after = now.astimezone(UTC) - MICROSECOND if previous_fire_time is None else previous_fire_time.astimezone(UTC)
        return _next_cron_fire(self._search, self.timezone, after.replace(microsecond=0))

    def fire_after(self, after: datetime | None, anchor: datetime) -> datetime | None:
        return self.get_next_fire_time(max(after, anchor) if after is not None else anchor, anchor)

    def next_after(self, last_fire: datetime, anchor: datetime) -> datetime | None:
        return self.get_next_fire_time(last_fire, anchor)

    @property
    def fields(self) -> list[str]:
        """The five or six fields of the expression; of a macro, those that it stands for."""
        return MACROS.get(self.expression.strip().lower(), self.expression).split()

    @property
    def has_fixed_times(self) -> bool:
        """Whether the expression has fixed times of the day, as opposed to elapsed time (see the module)."""
        return _has_fixed_times(self._search)

    def names(self, wall_time: datetime) -> bool:
        """Return whether a naive wall time matches the expression, even if the clocks skip or repeat it."""
        return next(_wall_times(self._search, wall_time - SECOND), None) == wall_time

    def explain(self) -> str:
        """Describe the expression: `At 18:00 on Monday through Friday (Asia/Shanghai)`."""
        return f"{self._search.explain()} ({self.timezone})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CronTrigger):
            return NotImplemented
        return self._search.parts == other._search.parts and self.timezone == other.timezone

    def __hash__(self) -> int:
        return hash((*self._search.parts, self.timezone))

    def __str__(self) -> str:
        return f"cron[{self.expression}]"

    def __repr__(self) -> str:
        return f"CronTrigger({self.expression!r}, {self.timezone!r})"


@lru_cache(maxsize=4096)
def _read_cron(expression: str) -> CronSim:
    text = MACROS.get(expression.strip().lower(), expression)
    text = ONE_VALUE_RANGE.sub(r"\1", text)
    try:
        search = CronSim(text, datetime(2000, 1, 1))  # noqa: DTZ001 - a wall time, without a zone
        next(copy(search))
    except CronSimError as problem:
        raise TriggerError(_cron_problem(expression, text.upper().split(), str(problem))) from problem
    except StopIteration as problem:
        raise TriggerError(_never_fires(expression)) from problem
    return search


def _cron_problem(expression: str, fields: list[str], problem: str) -> str:
    name = problem.removeprefix("Bad ")
    if name not in FIELDS:
        found = f"{len(fields)} field{'s' * (len(fields) != 1)}"
        macros = f" or one of {', '.join(MACROS)}" if expression.strip().startswith("@") else ""
        return (
            f"cron expression {expression!r} has {found}, not 5 (minute, hour, day of month, month, day of week) or 6 "
            f"(seconds first){macros}; {CRON_EXAMPLE}"
        )
    place, expected = FIELDS[name]
    field = ["0", *fields][-6:][place]
    if name == "day-of-month" and _is_day_field(field):  # valid, but no month of the expression is so long
        return _never_fires(expression)
    return (
        f"cron expression {expression!r}: the {name} field {field!r} is not {expected}, nor a list, range or step of "
        f"them; {CRON_EXAMPLE}"
    )


def _is_day_field(field: str) -> bool:
    try:
        CronSim(f"0 0 {field} * *", datetime(2000, 1, 1))  # noqa: DTZ001
    except CronSimError:
        return False
    return True


def _never_fires(expression: str) -> str:
    return f"cron expression {expression!r} never fires: no date matches its day and month fields; {CRON_EXAMPLE}"


# Thousands of jobs with the same expression are due at the same instant: 2 µs each instead of 30 to 80.
@lru_cache(maxsize=1024)
def _next_cron_fire(search: CronSim, zone: tzinfo, after: datetime) -> datetime | None:
    try:
        fire = (_next_fixed_time if _has_fixed_times(search) else _next_elapsed_time)(search, zone, after)
    except OverflowError:  # the year 10000
        return None
    return fire if fire is not None and fire <= LATEST else None


def _has_fixed_times(search: CronSim) -> bool:
    return not any(field.startswith("*") for field in search.parts[1:3])


def _next_fixed_time(search: CronSim, zone: tzinfo, after: datetime) -> datetime | None:
    for wall_time in _wall_times(search, wall_clock(zone, after)):
        fire = first_instant(zone, wall_time)
        if fire > after:  # else `after` is in the second pass of a repeat
            return fire
    return None


def _next_elapsed_time(search: CronSim, zone: tzinfo, after: datetime) -> datetime | None:
    start = wall_clock(zone, after)
    while True:
        wall_time = next(_wall_times(search, start), None)
        if wall_time is None:
            return None
        fire = after + (wall_time - wall_clock(zone, after))
        change = next_clock_change(zone, after, fire)
        if change is None:
            return fire
        # Elapsed and wall time agree until the change, so nothing fires before it: search again from there.
        after, start = change, wall_clock(zone, change) - SECOND


def _wall_times(search: CronSim, start: datetime) -> Iterator[datetime]:
    """Return an iterator over the matching wall times after `start`, ignoring clock changes."""
    # The iterator has state, and all triggers with the same expression share it, perhaps in several threads.
    search = copy(search)
    search.dt = start
    return search
