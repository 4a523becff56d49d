"""Cron against brute force: every IANA zone, every clock change from 2010 through 2037.

The oracle walks the minutes of UTC, looks at the wall clock in each and applies the policy of gnomon.scheduling.cron.
It shares no code with it: it has its own reader for cron expressions and knows nothing of offsets, gaps and folds.
"""

from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gnomon.errors import TriggerError
from gnomon.scheduling.cron import CronTrigger

# They compute, for up to 15 s on a machine that does nothing else.
pytestmark = [pytest.mark.any_python, pytest.mark.timeout(300)]

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST, LAST = datetime(2010, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
WINDOW = 3.5 * HOUR  # on each side of a change; the largest change but Samoa's day is of 3 hours
AREAS = sorted({name.partition("/")[0] for name in available_timezones()})


class Change(NamedTuple):
    at: datetime
    before: timedelta
    after: timedelta


QUIET = datetime(2026, 3, 29, 1, tzinfo=UTC)  # looked at in zones whose clocks never change


# --- the oracle ----------------------------------------------------------------------------------------------------


@dataclass
class Crontab:
    """Five fields, read by hand: numbers, lists, ranges, steps, and `L`, `5L`, `1#2` in the day fields."""

    minutes: set[int]
    hours: set[int]
    months: set[int]
    day: str
    weekday: str
    fixed: bool
    known: dict[date, bool]

    @classmethod
    def read(cls, expression: str) -> "Crontab":
        minute, hour, day, month, weekday = expression.split()
        return cls(
            minutes=numbers(minute, 0, 59),
            hours=numbers(hour, 0, 23),
            months=numbers(month, 1, 12),
            day=day,
            weekday=weekday,
            fixed=minute[0] != "*" and hour[0] != "*",
            known={},
        )

    def has_date(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        last = monthrange(day.year, day.month)[1]
        by_day = day.day in numbers(self.day.replace("L", str(last)), 1, 31)
        by_weekday = any(self.has_weekday(term, day, last) for term in self.weekday.split(","))
        both = self.day[0] == "*" or self.weekday[0] == "*"
        return (by_day and by_weekday) if both else (by_day or by_weekday)

    @staticmethod
    def has_weekday(term: str, day: date, last: int) -> bool:
        weekday = day.isoweekday()  # Sunday is 7, and 0 in a crontab
        if term.endswith("L"):
            return int(term[:-1]) % 7 == weekday % 7 and day.day > last - 7
        if "#" in term:
            wanted, nth = term.split("#")
            return int(wanted) % 7 == weekday % 7 and (day.day - 1) // 7 + 1 == int(nth)
        return bool({weekday, weekday % 7} & numbers(term, 0, 7))

    def matches(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours:
            return False
        day = wall.date()
        if day not in self.known:
            self.known[day] = self.has_date(day)
        return self.known[day]


@cache
def numbers(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        first, _, final = (f"{low}-{high}" if span == "*" else span).partition("-")
        end = int(final) if final else (high if step else int(first))
        found.update(range(int(first), end + 1, int(step or 1)))
    return found


class Walk:
    """The minutes of UTC after start up to end: the wall time shown in each, and those that it is first to reach."""

    def __init__(self, zone: ZoneInfo, start: datetime, end: datetime) -> None:
        self.start, self.end = start, end
        self.shown: list[tuple[datetime, datetime]] = []
        self.reached: list[tuple[datetime, datetime]] = []
        latest = start.astimezone(zone).replace(tzinfo=None)
        for number in range(1, (end - start) // MINUTE + 1):
            instant = start + number * MINUTE
            wall = instant.astimezone(zone).replace(tzinfo=None)
            self.shown.append((instant, wall))
            while latest < wall:
                latest += MINUTE
                self.reached.append((instant, latest))

    def legal_fires(self, expression: str) -> list[datetime]:
        crontab = Crontab.read(expression)
        walls = self.reached if crontab.fixed else self.shown
        return list(dict.fromkeys(at for at, wall in walls if crontab.matches(wall)))


# --- what is compared ------------------------------------------------------------------------------------------------


def clock_changes(name: str) -> list[Change]:
    """Find the changes by looking every eighth day; two of one zone are never nearer than 20 days."""
    changes = []
    low, before = FIRST, offset_at(FIRST, name)
    while low < LAST:
        high = low + 8 * DAY
        after = offset_at(high, name)
        if before != after:
            start, end = low, high
            while end - start > MINUTE:
                middle = start + (end - start) // 2 // MINUTE * MINUTE
                start, end = (middle, end) if offset_at(middle, name) == before else (start, middle)
            changes.append(Change(end, before, after))
        low, before = high, after
    return changes


@cache
def changes_of_all_zones() -> dict[Change, str]:
    """Return each different change with one zone that has it: within the window, all zones that have it are alike."""
    changes: dict[Change, str] = {}
    for name in sorted(available_timezones()):
        for change in clock_changes(name) or [Change(QUIET, offset_at(QUIET, name), offset_at(QUIET, name))]:
            changes.setdefault(change, name)
    return changes


def offset_at(instant: datetime, name: str) -> timedelta:
    return instant.astimezone(ZoneInfo(name)).utcoffset() or timedelta()


def nasty_expressions(change: Change) -> Iterator[str]:
    """Expressions for the wall times around the change: its first, middle and last, and those beside it."""
    walls = [(change.at + offset).replace(tzinfo=None) for offset in (change.before, change.after)]
    low, high = min(walls), max(walls)
    middle = low + (high - low) // 2
    for wall in (low - MINUTE, low, middle, high - MINUTE, high, high + MINUTE):
        yield f"{wall.minute} {wall.hour} * * *"
    around = ",".join(str((low + hours * HOUR).hour) for hours in (-1, 0, 1, 2))
    yield f"0,30 {around} * * *"
    yield f"*/20 {around} * * *"
    yield "0 0 * * *"
    yield "0 * * * *"
    yield "*/15 * * * *"
    yield f"{middle.minute} {middle.hour} L * *"
    yield f"*/30 {low.hour},{high.hour} L * *"
    yield f"{low.minute} {low.hour} * * {low.isoweekday()}"
    yield f"*/15 * * * {low.isoweekday()}"
    yield f"*/15 * * * {high.isoweekday() % 7}"
    yield f"{middle.minute} * {middle.day} {middle.month} *"
    yield f"{high.minute} */2 {high.day} * {low.isoweekday()}"


def assert_fires_as_the_policy_says(expression: str, zone: ZoneInfo, walk: Walk, starts: list[datetime]) -> None:
    """Check from each start and from each legal fire: the result is the next legal one, whatever was asked before."""
    trigger, legal = CronTrigger(expression, zone), walk.legal_fires(expression)
    for start in [walk.start, *starts, *legal]:
        fire = trigger.get_next_fire_time(start, start)
        assert is_first_of(legal[bisect_right(legal, start) :], fire, walk), f"{trigger!r} after {start}: {fire}"
    for start in starts:
        fire = trigger.get_next_fire_time(None, start)
        assert is_first_of(legal[bisect_left(legal, start) :], fire, walk), f"{trigger!r} from {start}: {fire}"


def is_first_of(legal: list[datetime], fire: datetime | None, walk: Walk) -> bool:
    if fire is not None:
        assert fire.tzinfo is UTC
    return fire == legal[0] if legal else fire is None or fire > walk.end


def starts_around(change: Change) -> list[datetime]:
    return [change.at + minutes * MINUTE for minutes in (-90, -1, 0, 20)]


# --- tests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("area", AREAS)
def test_around_every_clock_change_cron_fires_as_the_policy_says(area: str) -> None:
    for change, name in changes_of_all_zones().items():
        if name.partition("/")[0] == area:
            zone = ZoneInfo(name)
            walk = Walk(zone, change.at - WINDOW, change.at + WINDOW)
            for expression in dict.fromkeys(nasty_expressions(change)):
                assert_fires_as_the_policy_says(expression, zone, walk, starts_around(change))


def test_the_clock_changes_are_not_overlooked() -> None:
    changes = changes_of_all_zones()
    sizes = {(change.after - change.before) / HOUR for change in changes}

    assert len(changes) > 1500
    assert {-1, -0.5, 0.5, 1, 2, 24} <= sizes


def test_the_oracle_tells_a_gap_from_a_repeat() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    spring = Walk(berlin, datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 29, 12, tzinfo=UTC))
    autumn = Walk(berlin, datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2026, 10, 25, 12, tzinfo=UTC))

    assert spring.legal_fires("0,30 2 * * *") == [datetime(2026, 3, 29, 1, tzinfo=UTC)]
    assert spring.legal_fires("*/30 2 * * *") == []
    assert autumn.legal_fires("30 2 * * *") == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]
    assert len(autumn.legal_fires("*/30 2 * * *")) == 4


def field(low: int, high: int, *, steps: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    pair = st.tuples(number, number).map(sorted)
    span = pair.map(lambda ends: f"{ends[0]}-{ends[1]}")
    step = st.integers(2, steps)
    term = st.one_of(number.map(str), span, st.builds("{}/{}".format, span, step))
    return st.one_of(
        st.just("*"),
        st.builds("*/{}".format, step),
        number.map(str),
        st.lists(term, min_size=1, max_size=3).map(",".join),
    )


weekdays = st.one_of(
    st.just("*"),
    field(0, 7, steps=4),
    st.builds("{}#{}".format, st.integers(0, 7), st.integers(1, 5)),
    st.integers(0, 7).map("{}L".format),
)
days = st.one_of(st.just("*"), field(1, 31, steps=9), st.just("L"))
months = st.one_of(st.just("*"), field(1, 12, steps=6))


def assume_it_ever_fires(expression: str) -> None:
    try:
        CronTrigger(expression, UTC)
    except TriggerError as problem:
        assume("never fires" not in str(problem))
        raise


@settings(max_examples=250)
@given(
    pick=st.integers(0),
    minute=field(0, 59, steps=31),
    hour=field(0, 23, steps=9),
    day=days,
    month=months,
    weekday=weekdays,
    away=st.integers(-600, 600),
)
def test_random_expressions_fire_as_the_policy_says_around_random_clock_changes(
    pick: int, minute: str, hour: str, day: str, month: str, weekday: str, away: int
) -> None:
    changes = list(changes_of_all_zones().items())
    change, name = changes[pick * 7919 % len(changes)]
    zone = ZoneInfo(name)
    expression = f"{minute} {hour} {day} {month} {weekday}"
    assume_it_ever_fires(expression)

    walk = Walk(zone, change.at - 11 * HOUR, change.at + 26 * HOUR)

    assert_fires_as_the_policy_says(expression, zone, walk, [change.at + away * MINUTE])
    assert CronTrigger(expression, zone).explain()


@settings(max_examples=300)
@given(start=st.dates(date(2010, 1, 1), date(2037, 12, 31)), day=days, month=months, weekday=weekdays)
def test_random_days_are_those_of_a_calendar_read_by_hand(start: date, day: str, month: str, weekday: str) -> None:
    zone = ZoneInfo("Asia/Tokyo")  # its clocks do not change
    expression = f"0 12 {day} {month} {weekday}"
    assume_it_ever_fires(expression)
    has_date: Callable[[date], bool] = Crontab.read(expression).has_date

    fire = CronTrigger(expression, zone).get_next_fire_time(
        None, datetime(start.year, start.month, start.day, tzinfo=zone)
    )

    expected = next((start + n * DAY for n in range(1000) if has_date(start + n * DAY)), None)
    if expected:
        assert fire == datetime(expected.year, expected.month, expected.day, 12, tzinfo=zone)
    else:
        assert fire is None or fire > datetime(start.year, start.month, start.day, tzinfo=zone) + 1000 * DAY
