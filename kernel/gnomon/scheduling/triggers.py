"""Triggers: a fixed interval, a date, a conjunction, and the adapter for every trigger of APScheduler 3.

All have APScheduler 3's interface, `get_next_fire_time(previous, now)`. Those of gnomon return UTC: Python compares
two datetimes of the same zone by their wall times, which is wrong where a clock change repeats an hour.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

from gnomon.errors import TriggerError
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.timezones import first_instant
from gnomon.text import moment

MICROSECOND = timedelta(microseconds=1)
# How long triggers may take to agree: as many rounds as in APScheduler 4, and as far ahead as cronsim searches.
MOST_DISAGREEMENTS = 10_000
HORIZON = timedelta(days=50 * 365)


class Trigger(Protocol):
    """Tells when a job is due, by the interface of APScheduler 3."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the fire after `previous_fire_time`, or the first one if that is None; None if there is no more.

        Both arguments are aware. After a previous fire the answer may lie before `now`: that is a late fire.
        """
        ...


class EveryTrigger:
    """Fires an interval after the previous fire, or after `now` if there was none: elapsed time, not wall time."""

    __slots__ = ("interval",)

    def __init__(self, interval: timedelta) -> None:
        if interval <= timedelta():
            raise TriggerError(f'an interval must be longer than zero, not {interval}; for example every = "10m"')
        self.interval = interval

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        return (previous_fire_time or now).astimezone(UTC) + self.interval

    def explain(self) -> str:
        """Describe the trigger: `every 10 minutes`."""
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
    """Fires once.

    A naive `at` is a wall time of the zone: one that the clocks skip stands for the first instant after the gap, one
    that they repeat for its first pass. An aware `at` is an instant.
    """

    __slots__ = ("at", "timezone")

    def __init__(self, at: datetime, timezone: tzinfo) -> None:
        self.at = first_instant(timezone, at) if at.tzinfo is None else at.astimezone(UTC)
        self.timezone = timezone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:  # noqa: ARG002
        return self.at if previous_fire_time is None or previous_fire_time < self.at else None

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


class AndTrigger:
    """Fires at the instants on which all triggers agree; ends as soon as one of them does.

    It replaces APScheduler's, which never returns (3.11.3) if the triggers disagree after a previous fire. Triggers
    that have not agreed after 10,000 rounds or within 50 years (every even and every odd second) are considered ended.
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
        """Describe the trigger."""
        return "whenever all agree: " + "; ".join(explain_trigger(trigger) for trigger in self.triggers)

    def __str__(self) -> str:
        return f"and[{', '.join(str(trigger) for trigger in self.triggers)}]"

    def __repr__(self) -> str:
        return f"AndTrigger({list(self.triggers)!r})"


def _catch_up(trigger: Trigger, fire: datetime, latest: datetime, now: datetime) -> datetime | None:
    if fire == latest:
        return fire
    # Cron has no memory, so it can jump ahead; others count from their last fire.
    return trigger.get_next_fire_time(latest - MICROSECOND if isinstance(trigger, CronTrigger) else fire, now)


class ForeignTrigger:
    """Calls a foreign trigger with datetimes in its own zone, as APScheduler would, and returns UTC.

    APScheduler's calendar interval adds to the *date* of the previous fire. A fire at 00:00 in Shanghai is on the day
    before in UTC, for which the trigger would return the same fire again and again.
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
        """Describe a trigger of a known kind; for another one return its `str()`."""
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
        return trigger_text(self.trigger)

    def __repr__(self) -> str:
        return f"ForeignTrigger({self.trigger!r}, {self.timezone!r})"


def adopt_trigger(trigger: Trigger, timezone: tzinfo) -> Trigger:
    """Wrap a foreign trigger so that it takes and returns UTC; `timezone` is for one without a zone."""
    ours = isinstance(trigger, CronTrigger | EveryTrigger | AtTrigger | AndTrigger | ForeignTrigger)
    return trigger if ours else ForeignTrigger(trigger, timezone)


def explain_trigger(trigger: Trigger) -> str:
    """Describe when a trigger fires; for an unknown kind return its `str()`."""
    explain: Callable[[], str] | None = getattr(trigger, "explain", None)
    return explain() if explain else trigger_text(trigger)


def trigger_text(trigger: Trigger) -> str:
    """Return the `str()` of a trigger without memory addresses, as it is kept in the definition of its job.

    With them the definition would differ at each start, and each start would restart the count of the fires.
    """
    return re.sub(" at 0x[0-9a-fA-F]+", "", str(trigger))


def is_predictable(trigger: Trigger) -> bool:
    """Return whether equal calls always have equal results; APScheduler's jitter is random."""
    if getattr(trigger, "jitter", None):
        return False
    parts = [trigger.trigger] if isinstance(trigger, ForeignTrigger) else getattr(trigger, "triggers", ())
    return all(is_predictable(part) for part in parts)


def _in_words(interval: timedelta) -> str:
    """Format a length: `10 minutes`, `1 hour 30 minutes`; a single unit without its number, for `every hour`."""
    minutes, seconds = divmod(interval - timedelta(interval.days), timedelta(minutes=1))
    units = {
        "day": interval.days,
        "hour": minutes // 60,
        "minute": minutes % 60,
        "second": seconds / timedelta(seconds=1),
    }
    parts = [f"{count:g} {unit}{'s' * (count != 1)}" for unit, count in units.items() if count]
    return parts[0].removeprefix("1 ") if len(parts) == 1 else " ".join(parts)
