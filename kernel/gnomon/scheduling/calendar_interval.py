"""A trigger that fires every so many days, weeks, months or years at one time of the day."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo

from gnomon.durations import MICROSECOND
from gnomon.errors import TriggerError
from gnomon.scheduling.timezones import LATEST, instants
from gnomon.scheduling.triggers import in_words

DAY = timedelta(days=1)


class CalendarIntervalTrigger:
    """Fires at intervals of the calendar, as APScheduler's trigger of that name does.

    The dates are counted from `start`, by default the date of the anchor. Months that lack the day (the 31st) are
    skipped, and so are dates on which the clocks skip the time of the day. Unlike APScheduler's trigger it
    names no time before the schedule began, and it ends with the year 9999, where that one never returns (3.11.3).
    """

    __slots__ = ("days", "end", "months", "start", "time", "timezone")

    def __init__(
        self,
        *,
        months: int = 0,
        days: int = 0,
        at: time = time(),
        start: date | None = None,
        end: date | None = None,
        timezone: tzinfo,
    ) -> None:
        if months < 0 or days < 0 or months + days == 0:
            raise TriggerError("an interval of the calendar must be at least one day long")
        self.months = months
        self.days = days
        self.time = at.replace(tzinfo=None)
        self.start = start
        self.end = end
        self.timezone = timezone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        if previous_fire_time is not None:
            return self.next_after(previous_fire_time, previous_fire_time)
        return self.fire_after(None, now - MICROSECOND)

    def fire_after(self, after: datetime | None, anchor: datetime) -> datetime | None:
        limit = max(after, anchor) if after is not None else anchor
        start = self.start if self.start is not None else self._local_date(anchor)
        return self._first_after(limit, self._near(start, limit))

    def next_after(self, last_fire: datetime, anchor: datetime) -> datetime | None:
        limit = max(last_fire, anchor)
        return self._first_after(limit, self._following(self._local_date(last_fire)))

    def _first_after(self, limit: datetime, day: date | None) -> datetime | None:
        begin = self._local_date(limit)
        while day is not None and day < begin:  # without looking at clocks: years of them take milliseconds
            day = self._following(day)
        while day is not None and (self.end is None or day <= self.end):
            fire = self._instant(day)
            if fire is not None and fire > limit:
                return fire if fire <= LATEST else None
            day = self._following(day)
        return None

    def _near(self, start: date, limit: datetime) -> date:
        """Return a date of the sequence that is not after the limit, so that years of days need no walk."""
        if self.months:
            return start
        passed = (self._local_date(limit) - start).days // self.days - 1
        return start + max(passed, 0) * self.days * DAY

    def _following(self, day: date) -> date | None:
        year, month = day.year, day.month
        while True:
            month += self.months
            year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
            if year > date.max.year:
                return None
            try:
                return date(year, month, day.day) + self.days * DAY
            except ValueError:
                continue  # the month lacks the day
            except OverflowError:
                return None

    def _instant(self, day: date) -> datetime | None:
        try:
            return next(iter(instants(self.timezone, datetime.combine(day, self.time))), None)
        except OverflowError:  # at the edges of the years 1 and 9999
            return None

    def _local_date(self, instant: datetime) -> date:
        try:
            return instant.astimezone(self.timezone).date()
        except OverflowError:
            return instant.astimezone(UTC).date()

    def explain(self) -> str:
        """Describe the trigger: `every 2 months at 06:00 (Asia/Shanghai)`."""
        count, unit = (self.months // 12, "year") if self.months % 12 == 0 else (self.months, "month")
        months = [f"{count} {unit}s" if count > 1 else unit] if self.months else []
        days = [in_words(self.days * DAY)] if self.days else []
        shown = self.time.isoformat("seconds" if self.time.second else "minutes")
        return f"every {' and '.join([*months, *days])} at {shown} ({self.timezone})"

    def _key(self) -> tuple[object, ...]:
        return self.months, self.days, self.time, self.start, self.end, self.timezone

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, CalendarIntervalTrigger) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        return f"calendarinterval[{self.explain()}]"

    def __repr__(self) -> str:
        return f"<{self}, from {self.start}>"
