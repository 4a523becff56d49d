"""When a job is due: cron, a fixed interval, a date, and every trigger that APScheduler 3 has or finds.

All have APScheduler 3's interface, `get_next_fire_time(previous, now)`. All that is made here answers in UTC: Python
compares two datetimes of one zone by their wall clocks, which is wrong where a clock change repeats an hour.

**Cron and clock changes.** An expression is matched against the wall clock of its zone. cronsim reads it and walks the
calendar; where a matching wall time lies in time is decided here, for changes of any length:

* *Fixed times*: neither the minute nor the hour field starts with `*`, as in `30 2 * * *`. Each matching wall time
  fires once. Those that clocks skip fire together, once, at the first instant after the gap (if that one matches too,
  it is the same fire). Of times that clocks repeat, the first pass fires.
* *Everything else* follows elapsed time, as in `*/15 * * * *`, `0 * * * *` or `*/30 2 * * *`: each instant whose wall
  clock matches fires, so both passes of a repeat do, and times that clocks skip do not.

This is Debian cron's rule, which cronsim's own time-zone code misses in places (2.8): started within a repeat it goes
backwards; after Lord Howe's half-hour gap it loses fires; it returns midnights that do not exist; it drops a fixed time
in a gap if the expression has a field for seconds. Debian cron itself stops at changes of three hours.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Protocol
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from gnomon.errors import TriggerError

MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
# Two clock changes of one zone are at least 20 days apart (Cairo in 2010), so a step of a week sees each of them.
WEEK = timedelta(weeks=1)

EXAMPLE = 'for example "0 18 * * 1-5" is 18:00 on Monday through Friday'
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
# cronsim 2.8 reads 5-5/2 as 5/2.
ONE_VALUE_RANGE = re.compile(r"\b(\w+)-\1/\d+")
# cronsim's word for a field: its place among six, and what may stand there.
FIELDS = {
    "second": (0, "0-59"),
    "minute": (1, "0-59"),
    "hour": (2, "0-23"),
    "day-of-month": (3, "1-31, L (last day) or LW (last working day)"),
    "month": (4, "1-12 or JAN-DEC"),
    "day-of-week": (5, "0-7 or SUN-SAT (0 and 7 are Sunday), 5L (last Friday) or 1#2 (second Monday)"),
}
# The keys of { type = "cron", ... }, the coarsest first, with the lowest value of each.
CRON_KEYS = {"month": "1", "day": "1", "day_of_week": "*", "hour": "0", "minute": "0", "second": "0"}
INTERVAL_KEYS = ("weeks", "days", "hours", "minutes", "seconds")
ENTRY_POINTS = "apscheduler.triggers"
# How long triggers may take to agree: as many rounds as in APScheduler 4, and as far ahead as cronsim looks.
MOST_DISAGREEMENTS = 10_000
HORIZON = timedelta(days=50 * 365)


class Trigger(Protocol):
    """What says when a job is due: APScheduler 3's interface."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the fire after `previous_fire_time`, or the first one if that is None; None if there is no more.

        Both arguments are aware. After a previous fire the answer may lie before `now`: that is a late fire.
        """
        ...


class CronTrigger:
    """Fire as a crontab line says; the module's docstring tells what clock changes do.

    Five fields (minute, hour, day of month, month, day of week), six with seconds first, or `@daily` and its like. If
    neither day field starts with `*`, a day that matches either is meant. `timezone` is a ZoneInfo or a fixed offset.
    Raises TriggerError for an expression that cannot be read, or that never fires (31 February).
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

    @property
    def has_fixed_times(self) -> bool:
        """Whether it means times of the day rather than elapsed time, as the module's docstring tells them apart."""
        return _has_fixed_times(self._search)

    def names(self, wall_time: datetime) -> bool:
        """Whether a naive wall time matches the expression, be it that clocks skip it, repeat it or neither."""
        return next(_wall_times(self._search, wall_time - SECOND), None) == wall_time

    def explain(self) -> str:
        """Say it in plain words: `At 18:00 on Monday through Friday (Asia/Shanghai)`."""
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


class EveryTrigger:
    """Fire an interval after the previous fire, or after `now` if there was none: elapsed time, not wall time."""

    __slots__ = ("interval",)

    def __init__(self, interval: timedelta) -> None:
        if interval <= timedelta():
            raise TriggerError(f'an interval must be longer than zero, not {interval}; for example every = "10m"')
        self.interval = interval

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        return (previous_fire_time or now).astimezone(UTC) + self.interval

    def explain(self) -> str:
        """Say it in plain words: `every 10 minutes`."""
        return f"every {_in_words(self.interval)}"

    def __eq__(self, other: object) -> bool:
        return self.interval == other.interval if isinstance(other, EveryTrigger) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.interval)

    def __str__(self) -> str:
        return f"every[{self.interval}]"

    def __repr__(self) -> str:
        return f"EveryTrigger({self.interval!r})"


class AtTrigger:
    """Fire once.

    A naive `at` is a wall time of the zone. One that clocks skip means the first instant after the gap, one that they
    repeat means its first pass. An aware `at` is the instant that it names.
    """

    __slots__ = ("at", "timezone")

    def __init__(self, at: datetime, timezone: tzinfo) -> None:
        self.at = _first_instant(at, timezone) if at.tzinfo is None else at.astimezone(UTC)
        self.timezone = timezone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:  # noqa: ARG002
        return self.at if previous_fire_time is None or previous_fire_time < self.at else None

    def explain(self) -> str:
        """Say it in plain words: `once at 2026-12-01 09:00:00+08:00 (Asia/Shanghai)`."""
        return f"once at {self.at.astimezone(self.timezone).isoformat(' ')} ({self.timezone})"

    def __eq__(self, other: object) -> bool:
        return self.at == other.at if isinstance(other, AtTrigger) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.at)

    def __str__(self) -> str:
        return f"at[{self.at.isoformat()}]"

    def __repr__(self) -> str:
        return f"AtTrigger({self.at!r}, {self.timezone!r})"


class AndTrigger:
    """Fire at the instants on which all triggers agree; over as soon as one of them is.

    It is ours because APScheduler's (3.11.3) never returns if they disagree after a previous fire. Triggers that have
    not agreed after 10,000 rounds or for 50 years (every even and every odd second) are taken to be over.
    """

    __slots__ = ("triggers",)

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        self.triggers = tuple(triggers)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        fires = [trigger.get_next_fire_time(previous_fire_time, now) for trigger in self.triggers]
        for _ in range(MOST_DISAGREEMENTS):
            known = [fire for fire in fires if fire is not None]
            if len(known) < len(fires):
                return None
            latest = max(known)
            if latest - (previous_fire_time or now) > HORIZON:
                return None
            if min(known) == latest:
                return latest
            fires = [_catch_up(*pair, latest, now) for pair in zip(self.triggers, known, strict=True)]
        return None

    def explain(self) -> str:
        """Say it in plain words."""
        return "whenever all agree: " + "; ".join(explain_trigger(trigger) for trigger in self.triggers)

    def __str__(self) -> str:
        return f"and[{', '.join(str(trigger) for trigger in self.triggers)}]"

    def __repr__(self) -> str:
        return f"AndTrigger({list(self.triggers)!r})"


class ForeignTrigger:
    """Ask a trigger that is not ours with datetimes in its own zone, as APScheduler would, and answer in UTC.

    APScheduler's calendar interval adds to the *date* of the previous fire. A fire at 00:00 in Shanghai has the date of
    the day before in UTC: given that, it would answer with the same fire again and again.
    """

    __slots__ = ("timezone", "trigger")

    def __init__(self, trigger: Trigger, timezone: tzinfo) -> None:
        self.trigger = trigger
        self.timezone: tzinfo = getattr(trigger, "timezone", None) or timezone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        previous = previous_fire_time.astimezone(self.timezone) if previous_fire_time else None
        fire = self.trigger.get_next_fire_time(previous, now.astimezone(self.timezone))
        return fire.astimezone(UTC) if fire else None

    def explain(self) -> str:
        """Say it in plain words where the trigger is of a kind that we know, else by its own `str()`."""
        words = self._explain_without_jitter()
        jitter = getattr(self.trigger, "jitter", None)
        return f"{words}, and up to {_in_words(timedelta(seconds=jitter))} later at random" if jitter else words

    def _explain_without_jitter(self) -> str:
        interval, date = getattr(self.trigger, "interval", None), getattr(self.trigger, "run_date", None)
        parts: Iterable[Trigger] | None = getattr(self.trigger, "triggers", None)
        if isinstance(interval, timedelta):
            return f"every {_in_words(interval)}"
        if isinstance(date, datetime):
            return AtTrigger(date, date.tzinfo or self.timezone).explain()
        if parts is not None and str(self).startswith("or["):
            return "whenever one of these: " + "; ".join(explain_trigger(part) for part in parts)
        return str(self)

    def __str__(self) -> str:
        return str(self.trigger)

    def __repr__(self) -> str:
        return f"ForeignTrigger({self.trigger!r}, {self.timezone!r})"


def adopt_trigger(trigger: Trigger, timezone: tzinfo) -> Trigger:
    """Make a trigger from anywhere safe to ask with UTC datetimes; `timezone` is for one that has no zone."""
    ours = isinstance(trigger, CronTrigger | EveryTrigger | AtTrigger | AndTrigger | ForeignTrigger)
    return trigger if ours else ForeignTrigger(trigger, timezone)


def build_trigger(spec: Mapping[str, object], timezone: tzinfo) -> Trigger:
    """Build a trigger from a table of the config: `{ type = "interval", minutes = 10 }`.

    `type` is a name in APScheduler's entry-point group (interval, date, calendarinterval, or, ...) and the other keys
    are the arguments of that trigger. "cron" and "and" are ours: cron has an `expression`, or fields by name, where
    fields finer than the finest one given take their lowest value, so `{ hour = 3 }` is 03:00. "and" and "or" have a
    list of tables, `triggers`. `timezone` is for triggers that can have a zone and name none. Raises TriggerError.
    """
    kind = str(spec.get("type", ""))
    arguments = {key: value for key, value in spec.items() if key != "type"}
    if "timezone" in arguments:
        arguments["timezone"] = timezone = _read_timezone(arguments["timezone"])
    if kind == "cron":
        return _build_cron(arguments, timezone)
    if kind == "and":
        _refuse_unknown(kind, arguments, ("triggers", "timezone"))
        return AndTrigger(_build_parts(kind, arguments.get("triggers"), timezone))
    if "triggers" in arguments:
        arguments["triggers"] = _build_parts(kind, arguments["triggers"], timezone)
    return _build_foreign(kind, arguments, timezone)


def explain_trigger(trigger: Trigger) -> str:
    """Say in plain words when a trigger fires; by its `str()` if it is of a kind that we do not know."""
    explain: Callable[[], str] | None = getattr(trigger, "explain", None)
    return explain() if explain else str(trigger)


def is_predictable(trigger: Trigger) -> bool:
    """Say whether the same question always has the same answer; APScheduler's jitter is random."""
    if getattr(trigger, "jitter", None):
        return False
    parts = [trigger.trigger] if isinstance(trigger, ForeignTrigger) else getattr(trigger, "triggers", ())
    return all(is_predictable(part) for part in parts)


def parse_timezone(name: str) -> ZoneInfo:
    """Return the zone with this IANA name; raises TriggerError with a near name for any other."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as problem:  # a folder of zones ("Europe") is an OSError
        known = available_timezones()
        cities = {zone.rpartition("/")[2].lower(): zone for zone in sorted(known)}
        hint = cities.get(name.lower()) or _nearest(name, known)
        raise TriggerError(
            f"there is no time zone {name!r}; write an IANA name"
            + (f", perhaps {hint!r}" if hint else ' such as "Asia/Shanghai"')
            + ("" if known else "; this machine has no zones: install tzdata")
        ) from problem


@lru_cache(maxsize=4096)
def _read_cron(expression: str) -> CronSim:
    text = MACROS.get(expression.strip().lower(), expression)
    text = ONE_VALUE_RANGE.sub(r"\1", text)
    try:
        search = CronSim(text, datetime(2000, 1, 1))  # noqa: DTZ001 - a wall time; zones come in later
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
            f"(seconds first){macros}; {EXAMPLE}"
        )
    place, expected = FIELDS[name]
    field = ["0", *fields][-6:][place]
    if name == "day-of-month" and _is_day_field(field):  # good as it is, but no month given is so long
        return _never_fires(expression)
    return (
        f"cron expression {expression!r}: the {name} field {field!r} is not {expected}, nor a list, range or step of "
        f"them; {EXAMPLE}"
    )


def _is_day_field(field: str) -> bool:
    try:
        CronSim(f"0 0 {field} * *", datetime(2000, 1, 1))  # noqa: DTZ001
    except CronSimError:
        return False
    return True


def _never_fires(expression: str) -> str:
    return f"cron expression {expression!r} never fires: no date matches its day and month fields; {EXAMPLE}"


# Thousands of jobs with one expression are due at one instant and then all ask this: 2 µs instead of 30 to 80.
@lru_cache(maxsize=1024)
def _next_cron_fire(search: CronSim, zone: tzinfo, after: datetime) -> datetime | None:
    try:
        return (_next_fixed_time if _has_fixed_times(search) else _next_elapsed_time)(search, zone, after)
    except OverflowError:  # the year 10000
        return None


def _has_fixed_times(search: CronSim) -> bool:
    return not any(field.startswith("*") for field in search.parts[1:3])


def _next_fixed_time(search: CronSim, zone: tzinfo, after: datetime) -> datetime | None:
    for wall_time in _wall_times(search, _wall_time(after, zone)):
        fire = _first_instant(wall_time, zone)
        if fire > after:  # else `after` is in the second pass of a repeat
            return fire
    return None


def _next_elapsed_time(search: CronSim, zone: tzinfo, after: datetime) -> datetime | None:
    start = _wall_time(after, zone)
    while True:
        wall_time = next(_wall_times(search, start), None)
        if wall_time is None:
            return None
        fire = after + (wall_time - _wall_time(after, zone))
        change = next_clock_change(zone, after, fire)
        if change is None:
            return fire
        # Elapsed and wall time agree until the change, so nothing fires before it: look again, from there.
        after, start = change, _wall_time(change, zone) - SECOND


def _wall_times(search: CronSim, start: datetime) -> Iterator[datetime]:
    """Walk the wall times after `start` that match, as if no clock ever changed."""
    # The iterator has a state, and all triggers with its expression share it, perhaps in several threads.
    search = copy(search)
    search.dt = start
    return search


def _wall_time(instant: datetime, zone: tzinfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def _first_instant(wall_time: datetime, zone: tzinfo) -> datetime:
    """Return the first instant, in UTC, at which clocks show the wall time or, if they skip it, a later one."""
    instant = wall_time.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _wall_time(instant, zone) == wall_time:
        return instant
    # In a gap fold=1 counts with the offset after it and so names an instant before it; fold=0 the other way (PEP 495).
    return _bisect_change(zone, wall_time.replace(tzinfo=zone, fold=1).astimezone(UTC), instant)


def next_clock_change(zone: tzinfo, start: datetime, end: datetime) -> datetime | None:
    """Return the first instant after `start`, up to and with `end`, at which the zone's offset changes."""
    offset = start.astimezone(zone).utcoffset()
    while start < end:
        probe = min(start + WEEK, end)
        if probe.astimezone(zone).utcoffset() != offset:
            return _bisect_change(zone, start, probe)
        start = probe
    return None


def _bisect_change(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    old = before.astimezone(zone).utcoffset()
    while after - before > SECOND:
        middle = before + timedelta(seconds=(after - before) // SECOND // 2)
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after


def _catch_up(trigger: Trigger, fire: datetime, latest: datetime, now: datetime) -> datetime | None:
    if fire == latest:
        return fire
    # Cron depends on the clock alone, so it can jump; others count from their last fire.
    return trigger.get_next_fire_time(latest - MICROSECOND if isinstance(trigger, CronTrigger) else fire, now)


def _build_cron(arguments: dict[str, object], timezone: tzinfo) -> CronTrigger:
    _refuse_unknown("cron", arguments, ("expression", "timezone", *CRON_KEYS))
    fields = {key: str(value) for key, value in arguments.items() if key in CRON_KEYS}
    expression = arguments.get("expression")
    if expression is None and fields:
        return CronTrigger(_crontab_line(fields), timezone)
    if fields or not isinstance(expression, str):
        raise TriggerError(
            f"trigger 'cron' needs either an expression or some of {', '.join(CRON_KEYS)}, not {arguments}; {EXAMPLE}"
        )
    return CronTrigger(expression, timezone)


def _crontab_line(fields: Mapping[str, str]) -> str:
    keys = list(CRON_KEYS)
    finest = max(keys.index(key) for key in fields)
    if finest == keys.index("day"):
        finest += 1  # a day of the month and a day of the week are equally fine
    line = {key: fields.get(key, "*" if keys.index(key) <= finest else CRON_KEYS[key]) for key in keys}
    seconds = [line["second"]] if "second" in fields else []
    return " ".join([*seconds, *(line[key] for key in ("minute", "hour", "day", "month", "day_of_week"))])


def _build_foreign(kind: str, arguments: dict[str, object], timezone: tzinfo) -> ForeignTrigger:
    factory = _find_factory(kind)
    parameters = inspect.signature(factory).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        known = parameters if "triggers" not in parameters else (*parameters, "timezone")
        _refuse_unknown(kind, arguments, known)
    if "timezone" in parameters:
        arguments.setdefault("timezone", timezone)
    else:
        arguments.pop("timezone", None)
    if kind == "interval" and not any(arguments.get(key) for key in INTERVAL_KEYS):
        # APScheduler would take it for one second.
        raise TriggerError(f"trigger 'interval' needs one of {', '.join(INTERVAL_KEYS)}, for example minutes = 10")
    given = ", ".join(f"{key} = {value!s}" for key, value in arguments.items()) or "no arguments"
    try:
        trigger = ForeignTrigger(factory(**arguments), timezone)
        _rehearse(trigger)
    except (TypeError, ValueError) as problem:
        raise TriggerError(f"trigger {kind!r} cannot be built with {given}: {problem}") from problem
    return trigger


def _rehearse(trigger: Trigger) -> None:
    # APScheduler takes months = "2" or minutes = -5 and fails, or stands still, when the job is due.
    now = datetime.now(UTC)
    first = trigger.get_next_fire_time(None, now)
    second = trigger.get_next_fire_time(first, now) if first else None
    if first and second and second <= first:
        raise ValueError(f"it does not go forward: after {first} comes {second}")


@lru_cache(maxsize=64)
def _find_factory(kind: str) -> Callable[..., Trigger]:
    for found in entry_points(group=ENTRY_POINTS, name=kind):
        try:
            factory: Callable[..., Trigger] = found.load()
        except (ImportError, AttributeError) as problem:
            raise TriggerError(f"trigger type {kind!r} ({found.value}) cannot be loaded: {problem}") from problem
        return factory
    known = sorted({"and", "cron", *(found.name for found in entry_points(group=ENTRY_POINTS))})
    hint = _nearest(kind, known)
    raise TriggerError(
        (f"there is no trigger type {kind!r}" if kind else "a trigger table needs a type")
        + (f", perhaps {hint!r}" if hint else "")
        + f'; known are {", ".join(known)}; for example {{ type = "interval", minutes = 10 }}'
    )


def _refuse_unknown(kind: str, arguments: Iterable[str], known: Collection[str]) -> None:
    for argument in arguments:
        if argument not in known:
            hint = _nearest(argument, known)
            raise TriggerError(
                f"trigger {kind!r} has no argument {argument!r}"
                + (f", perhaps {hint!r}" if hint else "")
                + f"; it has {', '.join(known)}"
            )


def _build_parts(kind: str, parts: object, timezone: tzinfo) -> list[Trigger]:
    tables = parts if isinstance(parts, Sequence) and not isinstance(parts, str) else ()
    if tables and all(isinstance(table, Mapping) for table in tables):
        return [build_trigger(table, timezone) for table in tables]
    raise TriggerError(
        f"trigger {kind!r} needs a list of tables, triggers = [{{ type = ... }}, {{ type = ... }}], not {parts!r}"
    )


def _read_timezone(zone: object) -> tzinfo:
    if isinstance(zone, tzinfo):
        return zone
    return parse_timezone(str(zone))


def _nearest(word: str, known: Iterable[str]) -> str | None:
    by_lower = {name.lower(): name for name in known}
    return next((by_lower[found] for found in get_close_matches(word.lower(), by_lower, n=1)), None)


def _in_words(interval: timedelta) -> str:
    """Write a length: `10 minutes`, `1 hour 30 minutes`; one of a unit alone is just the unit, for `every hour`."""
    minutes, seconds = divmod(interval - timedelta(interval.days), timedelta(minutes=1))
    units = {
        "day": interval.days,
        "hour": minutes // 60,
        "minute": minutes % 60,
        "second": seconds / SECOND,
    }
    parts = [f"{count:g} {unit}{'s' * (count != 1)}" for unit, count in units.items() if count]
    return parts[0].removeprefix("1 ") if len(parts) == 1 else " ".join(parts)
