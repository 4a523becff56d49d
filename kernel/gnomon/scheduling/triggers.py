"""Triggers: their interfaces, a fixed interval and a date.

All have APScheduler 3's interface, `get_next_fire_time(previous, now)`. Those of gnomon return UTC: Python compares
two datetimes of the same zone by their wall times, which is wrong where a clock change repeats an hour.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

from gnomon.durations import MICROSECOND
from gnomon.errors import TriggerError
from gnomon.safe_text import exact, safe_str
from gnomon.scheduling.timezones import EARLIEST, LATEST, first_instant
from gnomon.text import moment

SHORTEST = timedelta(milliseconds=1)
"""The shortest interval: a kernel cannot decide about fires that are due faster, and would do nothing else."""
LONGEST_TEXT = 32 * 1024
"""Characters of a trigger in words, which are more than any definition needs."""


class Trigger(Protocol):
    """Tells when a job is due, by the interface of APScheduler 3."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the fire after `previous_fire_time`, or the first one if that is None; None if there is no more.

        Both arguments are aware. After a previous fire the answer may lie before `now`: that is a late fire.
        """
        ...


class AnchoredTrigger(Trigger, Protocol):
    """A trigger whose fires follow from an anchor, so that no call depends on the one before.

    The anchor is the moment at which the schedule began; the log keeps it. All triggers of gnomon are anchored.
    """

    def fire_after(self, after: datetime | None, anchor: datetime) -> datetime | None:
        """Return the first fire after an instant, None if there is no more; all fires are later than the anchor.

        With None return the very first fire. A single fire (a date) may lie before the anchor: it is late, but due.
        """
        ...

    def next_after(self, last_fire: datetime, anchor: datetime) -> datetime | None:
        """Return the fire after `last_fire`, which is a fire of this trigger itself."""
        ...


class EveryTrigger:
    """Fires at a fixed interval of elapsed time, counted from the anchor or from `start`, if given, up to `end`."""

    __slots__ = ("end", "interval", "start")

    def __init__(self, interval: timedelta, start: datetime | None = None, end: datetime | None = None) -> None:
        if interval <= timedelta():
            raise TriggerError(f'an interval must be longer than zero, not {interval}; for example every = "10m"')
        if interval < SHORTEST:
            microseconds = interval // MICROSECOND
            raise TriggerError(
                f"an interval must be 1ms or longer, not {microseconds} microsecond{'s' * (microseconds != 1)}: write "
                'a longer one, such as every = "1s", and for work without a rest a loop in the function of the job'
            )
        self.interval = interval
        self.start = in_utc(start) if start is not None else None
        self.end = in_utc(end) if end is not None else None

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        if previous_fire_time is not None:
            return self.next_after(previous_fire_time, previous_fire_time)
        return self.fire_after(None, now if self.start is None else now - MICROSECOND)

    def fire_after(self, after: datetime | None, anchor: datetime) -> datetime | None:
        limit = max(after, anchor) if after is not None else anchor
        if self.start is not None and self.start > limit:
            return self._bounded(self.start)
        start = (self.start or anchor).astimezone(UTC)
        return self._after(start, (limit - start) // self.interval + 1)

    def next_after(self, last_fire: datetime, anchor: datetime) -> datetime | None:
        if self.start is not None:
            return self.fire_after(last_fire, anchor)
        return self._after(last_fire.astimezone(UTC), 1)

    def last_before(self, limit: datetime, anchor: datetime) -> datetime | None:
        """Return the last fire before an instant, None if there is none."""
        start = (self.start or anchor).astimezone(UTC)
        count = (limit - MICROSECOND - start) // self.interval
        fire = start + count * self.interval if count >= 0 else None
        return fire if fire is not None and fire > anchor else None

    def _after(self, start: datetime, count: int) -> datetime | None:
        try:
            return self._bounded(start + count * self.interval)
        except OverflowError:  # beyond the year 9999
            return None

    def _bounded(self, fire: datetime) -> datetime | None:
        return fire if fire <= (self.end or LATEST) else None

    def explain(self) -> str:
        """Describe the trigger: `every 10 minutes`."""
        return f"every {in_words(self.interval)}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EveryTrigger):
            return NotImplemented
        return (self.interval, self.start, self.end) == (other.interval, other.start, other.end)

    def __hash__(self) -> int:
        return hash((self.interval, self.start, self.end))

    def __str__(self) -> str:
        return f"every[{self.interval}]"

    def __repr__(self) -> str:
        return f"EveryTrigger({self.interval!r})"


class AtTrigger:
    """Fires once.

    A naive `at` is a wall time of the zone: one that the clocks skip stands for the first instant after the gap, one
    that they repeat for its first pass. An aware `at` is an instant.
    """

    __slots__ = ("at", "timezone")

    def __init__(self, at: datetime, timezone: tzinfo) -> None:
        self.at = in_utc(at) if at.tzinfo is not None else _in_range(at, lambda: first_instant(timezone, at))
        self.timezone = timezone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return self.fire_after(previous_fire_time, now)

    def fire_after(self, after: datetime | None, anchor: datetime) -> datetime | None:  # noqa: ARG002
        return self.at if after is None or after < self.at else None

    def next_after(self, last_fire: datetime, anchor: datetime) -> datetime | None:
        return self.fire_after(last_fire, anchor)

    def explain(self) -> str:
        """Describe the trigger: `once at 2026-12-01 09:00 +08 (Asia/Shanghai)`."""
        return f"once at {moment(self.at, self.timezone, milliseconds=True)} ({self.timezone})"

    def __eq__(self, other: object) -> bool:
        return self.at == other.at if isinstance(other, AtTrigger) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.at)

    def __str__(self) -> str:
        return f"at[{self.at.isoformat()}]"

    def __repr__(self) -> str:
        return f"AtTrigger({self.at!r}, {self.timezone!r})"


def explain_trigger(trigger: Trigger) -> str:
    """Describe when a trigger fires; for an unknown kind return its `str()`."""
    try:
        explain: Callable[[], str] | None = getattr(trigger, "explain", None)
        return exact(explain(), LONGEST_TEXT) if explain else trigger_text(trigger)
    except BaseException:  # noqa: BLE001 - the trigger may be code of the user, which raises anything
        return trigger_text(trigger)


def trigger_text(trigger: object) -> str:
    """Return the `str()` of a trigger without memory addresses, as it is kept in the definition of its job.

    With them the definition would differ at each start, and each start would restart the count of the fires.
    """
    return re.sub(" at 0x[0-9a-fA-F]+", "", safe_str(trigger, LONGEST_TEXT))


def is_predictable(trigger: AnchoredTrigger) -> bool:
    """Return whether equal calls always have equal results; jitter is random.

    As in `counts_elapsed_time`, the attributes that are read are those of triggers of gnomon: foreign ones are wrapped.
    """
    if getattr(trigger, "jitter", None):
        return False
    inner: AnchoredTrigger | None = getattr(trigger, "trigger", None)
    parts = [inner] if inner is not None else getattr(trigger, "triggers", ())
    return all(is_predictable(part) for part in parts)


def counts_elapsed_time(trigger: AnchoredTrigger) -> bool:
    """Return whether a trigger fires after elapsed time alone, so that it does not matter what the wall clock shows."""
    while (inner := getattr(trigger, "trigger", None)) is not None and getattr(trigger, "start", None) is None:
        trigger = inner
    return isinstance(trigger, EveryTrigger) and trigger.start is None and trigger.end is None


def in_utc(instant: datetime) -> datetime:
    """Convert an aware datetime to UTC; TriggerError for one that some time zones cannot show."""
    return _in_range(instant, lambda: instant.astimezone(UTC))


def _in_range(given: datetime, convert: Callable[[], datetime]) -> datetime:
    try:
        instant = convert()
    except OverflowError:
        instant = None
    if instant is None or not EARLIEST <= instant <= LATEST:
        span = f"{EARLIEST.date()} to {LATEST.date()}"
        raise TriggerError(f"{given.isoformat()} is outside of {span}, the times that every time zone can show")
    return instant


def in_words(interval: timedelta) -> str:
    """Format a length: `10 minutes`, `1 hour 30 minutes`; a single unit without its number, for `every hour`."""
    minutes, seconds = divmod(interval - timedelta(interval.days), timedelta(minutes=1))
    units = {
        "day": interval.days,
        "hour": minutes // 60,
        "minute": minutes % 60,
        "second": seconds / timedelta(seconds=1),
    }
    parts = [f"{count:.9g} {unit}{'s' * (count != 1)}" for unit, count in units.items() if count]
    return parts[0].removeprefix("1 ") if len(parts) == 1 else " ".join(parts)
