"""Which buckets a timeline has: round widths, whose ends are ends of periods that are kept."""

from __future__ import annotations

import math
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from gnomon.stores.microseconds import from_micros, to_micros
from gnomon_stats.job_fold import ZoneDays
from gnomon_stats.lane_fold import DAY_S, FIVE_MINUTES_S, HOUR_S, LEVELS, MINUTE_S

WIDTHS: Final = (
    *(MINUTE_S * n for n in (1, 2)),
    *(FIVE_MINUTES_S * n for n in (1, 2, 3, 6)),
    *(HOUR_S * n for n in (1, 2, 3, 6, 12)),
    *(DAY_S * n for n in (1, 2, 7, 28)),
)


class Buckets(msgspec.Struct, frozen=True):
    """`count` buckets, each of `width` periods of a level, from the period `first` on."""

    level: int
    width: int
    first: int
    count: int
    zone: ZoneInfo

    @property
    def seconds(self) -> int:
        """The nominal width of a bucket."""
        return self.width * LEVELS[self.level].seconds

    @property
    def last(self) -> int:
        """The last period."""
        return self.first + self.count * self.width - 1

    def start(self, number: int) -> datetime:
        """Return the begin of a bucket; that of number `count` is the end of the last one."""
        return self.start_of(self.first + number * self.width)

    def start_of(self, period: int) -> datetime:
        """Return the begin of a period."""
        seconds = LEVELS[self.level].seconds
        if seconds < DAY_S:
            return from_micros(period * seconds * 1_000_000)
        return datetime.combine(datetime.fromordinal(period), time(), self.zone).astimezone(UTC)


def choose_buckets(since: datetime, until: datetime, most: int, now: datetime, zone: ZoneInfo) -> Buckets:
    """Return the narrowest round buckets, up to `most`, that cover the range and whose periods are kept so far back.

    The ends of the range are moved outwards to ends of buckets, so there may be one more.
    """
    wanted = max((until - since).total_seconds() / most, 1.0)
    age = (now - since).total_seconds()
    for seconds in WIDTHS:
        level = max(number for number, one in enumerate(LEVELS) if seconds % one.seconds == 0)
        is_last = seconds == WIDTHS[-1]
        if is_last or (seconds >= wanted and (age <= _reach(level) or LEVELS[level].seconds == DAY_S)):
            break
    width = seconds // LEVELS[level].seconds
    if is_last and seconds < wanted:
        width *= math.ceil(wanted / seconds)
    if LEVELS[level].seconds == DAY_S:
        day_of = ZoneDays(zone)
        begin, end = (day_of(at, to_micros(at)) for at in (since, until - timedelta(microseconds=1)))
        first = begin - (begin - 1) % width  # ordinal 1 is a Monday, so weeks begin on Mondays
    else:
        unit = LEVELS[level].seconds * 1_000_000
        begin, end = to_micros(since) // unit, (to_micros(until) - 1) // unit
        first = begin - begin % width
    return Buckets(level=level, width=width, first=first, count=(end - first) // width + 1, zone=zone)


def _reach(level: int) -> float:
    """Return the seconds for which the periods of a level are kept: a few more are, see LEVELS."""
    return {MINUTE_S: 2, FIVE_MINUTES_S: 25, HOUR_S: 14 * 24}.get(LEVELS[level].seconds, 0) * float(HOUR_S)
