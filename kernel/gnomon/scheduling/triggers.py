"""When a job is due: cron, a fixed interval, a date, and every trigger that APScheduler 3 has or finds.

All have APScheduler 3's interface, `get_next_fire_time(previous, now)`. All that are ours answer in UTC: Python
compares two datetimes of one zone by their wall clocks, which is wrong where a clock change repeats an hour.
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
        self.at = first_instant(timezone, at) if at.tzinfo is None else at.astimezone(UTC)
        self.timezone = timezone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:  # noqa: ARG002
        return self.at if previous_fire_time is None or previous_fire_time < self.at else None

    def explain(self) -> str:
        """Say it in plain words: `once at 2026-12-01 09:00 +08 (Asia/Shanghai)`."""
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


def _catch_up(trigger: Trigger, fire: datetime, latest: datetime, now: datetime) -> datetime | None:
    if fire == latest:
        return fire
    # Cron depends on the clock alone, so it can jump; others count from their last fire.
    return trigger.get_next_fire_time(latest - MICROSECOND if isinstance(trigger, CronTrigger) else fire, now)


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
        return trigger_text(self.trigger)

    def __repr__(self) -> str:
        return f"ForeignTrigger({self.trigger!r}, {self.timezone!r})"


def adopt_trigger(trigger: Trigger, timezone: tzinfo) -> Trigger:
    """Make a trigger from anywhere safe to ask with UTC datetimes; `timezone` is for one that has no zone."""
    ours = isinstance(trigger, CronTrigger | EveryTrigger | AtTrigger | AndTrigger | ForeignTrigger)
    return trigger if ours else ForeignTrigger(trigger, timezone)


def explain_trigger(trigger: Trigger) -> str:
    """Say in plain words when a trigger fires; by its `str()` if it is of a kind that we do not know."""
    explain: Callable[[], str] | None = getattr(trigger, "explain", None)
    return explain() if explain else trigger_text(trigger)


def trigger_text(trigger: Trigger) -> str:
    """Return the `str()` of a trigger without addresses in memory, as it stands in its job's definition.

    With them the definition would be another one at each start, and the fires would be counted anew.
    """
    return re.sub(" at 0x[0-9a-fA-F]+", "", str(trigger))


def is_predictable(trigger: Trigger) -> bool:
    """Say whether the same question always has the same answer; APScheduler's jitter is random."""
    if getattr(trigger, "jitter", None):
        return False
    parts = [trigger.trigger] if isinstance(trigger, ForeignTrigger) else getattr(trigger, "triggers", ())
    return all(is_predictable(part) for part in parts)


def _in_words(interval: timedelta) -> str:
    """Write a length: `10 minutes`, `1 hour 30 minutes`; one of a unit alone is just the unit, for `every hour`."""
    minutes, seconds = divmod(interval - timedelta(interval.days), timedelta(minutes=1))
    units = {
        "day": interval.days,
        "hour": minutes // 60,
        "minute": minutes % 60,
        "second": seconds / timedelta(seconds=1),
    }
    parts = [f"{count:g} {unit}{'s' * (count != 1)}" for unit, count in units.items() if count]
    return parts[0].removeprefix("1 ") if len(parts) == 1 else " ".join(parts)
