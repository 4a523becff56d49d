"""Triggers with fewer fires than another one: those from a start to an end, and those that nothing excludes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Protocol

from gnomon.durations import MICROSECOND
from gnomon.scheduling.timezones import LATEST
from gnomon.scheduling.triggers import AnchoredTrigger, explain_trigger
from gnomon.text import moment

MOST_EXCLUDED = 10_000
"""Periods in a row that may exclude a fire: with more of them (27 years of days) the trigger has ended."""


class Exclusion(Protocol):
    """Times at which a job does not fire."""

    def ends_after(self, fire: datetime) -> datetime | None:
        """Return the instant up to which fires are excluded, which is later than `fire`; None if `fire` is not."""
        ...

    def explain(self) -> str:
        """Describe the times, to follow `except`: `on 2026-12-24`."""
        ...


class BoundedTrigger:
    """Fires as another trigger does, from `start` to `end`, both included."""

    __slots__ = ("end", "start", "trigger")

    def __init__(self, trigger: AnchoredTrigger, start: datetime | None, end: datetime | None) -> None:
        self.trigger = trigger
        self.start = start
        self.end = end

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return self.fire_after(previous_fire_time, now - MICROSECOND)

    def fire_after(self, after: datetime | None, anchor: datetime) -> datetime | None:
        fire = self.trigger.fire_after(after, anchor)
        if fire is not None and self.start is not None and fire < self.start:
            fire = self.trigger.fire_after(self.start - MICROSECOND, anchor)
        return fire if fire is not None and fire <= (self.end or LATEST) else None

    def next_after(self, last_fire: datetime, anchor: datetime) -> datetime | None:
        return self.fire_after(last_fire, anchor)

    def explain(self) -> str:
        """Describe the trigger."""
        zone = getattr(self.trigger, "timezone", None)
        return explain_trigger(self.trigger) + bounds_in_words(self.start, self.end, zone)

    def _key(self) -> tuple[object, ...]:
        return self.trigger, self.start, self.end

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, BoundedTrigger) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        return f"{self.trigger}{bounds_in_words(self.start, self.end, None)}"

    def __repr__(self) -> str:
        return f"BoundedTrigger({self.trigger!r}, {self.start!r}, {self.end!r})"


class FilteredTrigger:
    """Fires as another trigger does, except at times that are excluded."""

    __slots__ = ("exclusions", "trigger")

    def __init__(self, trigger: AnchoredTrigger, exclusions: Sequence[Exclusion]) -> None:
        self.trigger = trigger
        self.exclusions = tuple(exclusions)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return self.fire_after(previous_fire_time, now - MICROSECOND)

    def fire_after(self, after: datetime | None, anchor: datetime) -> datetime | None:
        fire = self.trigger.fire_after(after, anchor)
        for _ in range(MOST_EXCLUDED):
            if fire is None or (end := self.excluded_until(fire)) is None:
                return fire
            if end > LATEST:
                return None
            # A whole period at once: a job of every second has 86,400 fires on an excluded day.
            fire = self.trigger.fire_after(end - MICROSECOND, anchor)
        return None

    def next_after(self, last_fire: datetime, anchor: datetime) -> datetime | None:
        return self.fire_after(last_fire, anchor)

    def excluded_until(self, fire: datetime) -> datetime | None:
        """Return the latest end of the exclusions of a fire, None if nothing excludes it."""
        ends = [end for exclusion in self.exclusions if (end := exclusion.ends_after(fire)) is not None]
        return max(ends, default=None)

    def explain(self) -> str:
        """Describe the trigger: `every hour, except on 2026-12-24`."""
        words = [exclusion.explain() for exclusion in self.exclusions]
        listed = " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
        return f"{explain_trigger(self.trigger)}, except {listed}"

    def _key(self) -> tuple[object, ...]:
        return self.trigger, self.exclusions

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, FilteredTrigger) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        return f"{self.trigger}, except {', '.join(exclusion.explain() for exclusion in self.exclusions)}"

    def __repr__(self) -> str:
        return f"FilteredTrigger({self.trigger!r}, {list(self.exclusions)!r})"


def bounds_in_words(start: datetime | None, end: datetime | None, zone: object) -> str:
    """Describe a start and an end, to follow a schedule: `, from 2026-12-01 00:00 +08 to 2026-12-31 00:00 +08`."""
    shown = zone if isinstance(zone, tzinfo) else UTC
    words = [f"from {moment(start, shown, milliseconds=True)}"] if start is not None else []
    words += [f"until {moment(end, shown, milliseconds=True)}"] if end is not None else []
    return f", {' '.join(words)}" if words else ""
