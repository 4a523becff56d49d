"""Triggers from elsewhere: APScheduler's are converted, all others are wrapped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import islice
from typing import Any, TypeVar

from gnomon.durations import MICROSECOND
from gnomon.errors import GnomonError, TriggerError
from gnomon.safe_text import safe_repr, safe_str, type_name
from gnomon.scheduling.calendar_interval import CalendarIntervalTrigger
from gnomon.scheduling.combined_triggers import AndTrigger, JitterTrigger, OrTrigger
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.hashed_jitter import HashedJitterTrigger
from gnomon.scheduling.limited_triggers import BoundedTrigger, FilteredTrigger
from gnomon.scheduling.timezones import LATEST
from gnomon.scheduling.triggers import AnchoredTrigger, AtTrigger, EveryTrigger, Trigger, trigger_text

T = TypeVar("T")

_LOADED = datetime.now(UTC) - timedelta(minutes=1)
"""About the start of this process."""
MOST_DEPTH, MOST_PARTS = 10, 100
"""How deep, and how many at once, triggers inside a foreign one are asked whether they are random."""
MOST_STEPS = 100_000
"""Fires of a foreign trigger that are walked through to find the first one after an instant."""


class ForeignTrigger:
    """Calls a foreign trigger with datetimes in its own zone, as APScheduler would, and returns UTC.

    A trigger that adds to the *date* of the previous fire needs its zone: a fire at 00:00 in Shanghai is on the day
    before in UTC, for which it would return the same fire again and again.
    """

    __slots__ = ("_foreign", "jitter", "timezone")

    def __init__(self, trigger: Trigger, timezone: tzinfo) -> None:
        self._foreign = trigger
        # Read once, and here: attributes may be code, too.
        self.timezone: tzinfo = _contained(trigger, lambda: getattr(trigger, "timezone", None) or timezone)
        self.jitter = _contained(trigger, lambda: _is_random(trigger, MOST_DEPTH))

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return _contained(self._foreign, lambda: self._next(previous_fire_time, now))

    def _next(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        previous = previous_fire_time.astimezone(self.timezone) if previous_fire_time else None
        fire = self._foreign.get_next_fire_time(previous, now.astimezone(self.timezone))
        return fire.astimezone(UTC) if fire is not None and fire <= LATEST else None

    def fire_after(self, after: datetime | None, anchor: datetime) -> datetime | None:
        limit = max(after, anchor) if after is not None else anchor
        fire = self.get_next_fire_time(None, limit if after is None else limit + MICROSECOND)
        if fire is not None and fire <= limit:
            fire = self.get_next_fire_time(None, limit + MICROSECOND)
        if fire is None or fire > limit:
            return fire
        following = self._following(fire)
        if following is None:  # a single fire, which may be late
            return fire if after is None or fire > after else None
        for _ in range(MOST_STEPS):
            if following is None or following > limit:
                return following
            following = self._following(following)
        raise TriggerError(f"trigger {self} names more than {MOST_STEPS:,} times before {limit}")

    def next_after(self, last_fire: datetime, anchor: datetime) -> datetime | None:  # noqa: ARG002
        return self._following(last_fire)

    def _following(self, fire: datetime) -> datetime | None:
        following = self.get_next_fire_time(fire, fire + MICROSECOND)
        if following is not None and following <= fire:
            raise TriggerError(f"trigger {self} does not move on: the fire after {fire} is {following}")
        return following

    def explain(self) -> str:
        """Return the trigger's own `str()`."""
        return str(self)

    def __str__(self) -> str:
        return trigger_text(self._foreign)

    def __repr__(self) -> str:
        return f"ForeignTrigger({safe_repr(self._foreign)}, {self.timezone!r})"


def _contained(trigger: object, call: Callable[[], T]) -> T:
    """Call foreign code; whatever it raises, also SystemExit, is a TriggerError that names the trigger."""
    try:
        return call()
    except GnomonError:
        raise
    except BaseException as exc:
        raised = f"{type_name(exc)}: {safe_str(exc)}".removesuffix(": ")
        raise TriggerError(f"trigger {trigger_text(trigger)} raised {raised}") from exc


def _is_random(trigger: object, depth: int) -> bool:
    if getattr(trigger, "jitter", None):
        return True
    inner = getattr(trigger, "trigger", None)
    parts = [inner] if inner is not None else islice(getattr(trigger, "triggers", ()), MOST_PARTS)
    return depth > 0 and any(_is_random(part, depth - 1) for part in parts)


def is_trigger(value: object) -> bool:
    """Return whether an object has the method of a trigger; TriggerError for one whose attributes raise."""
    return _contained(value, lambda: hasattr(value, "get_next_fire_time"))


ANCHORED = (
    *(CronTrigger, EveryTrigger, AtTrigger, CalendarIntervalTrigger),
    *(AndTrigger, OrTrigger, JitterTrigger, ForeignTrigger),
    *(BoundedTrigger, FilteredTrigger, HashedJitterTrigger),
)


def adopt_trigger(trigger: Any, timezone: tzinfo) -> AnchoredTrigger:
    """Convert a trigger object to an anchored one; `timezone` is for a trigger without a zone.

    APScheduler sets a `start_date` that is not given to the moment at which the object is created, which is another one
    at each start of the process: such a trigger is counted from the anchor, which the log keeps. Raises TriggerError.
    """
    if issubclass(type(trigger), ANCHORED):  # isinstance would read __class__, which may raise anything
        anchored: AnchoredTrigger = trigger
        return anchored
    if is_convertible(trigger):
        return convert_trigger(trigger, timezone, has_start=not _starts_at_creation(trigger))
    return ForeignTrigger(trigger, timezone)


def is_convertible(trigger: Any) -> bool:
    """Return whether a trigger is an APScheduler trigger of which there is a counterpart here."""
    return _kind(trigger) in {"interval", "calendarinterval", "date", "or", "and"}


def convert_trigger(trigger: Any, timezone: tzinfo, *, has_start: bool) -> AnchoredTrigger:
    """Convert a trigger of APScheduler; without `has_start` its start date is not a given one."""
    converted: AnchoredTrigger
    match _kind(trigger):
        case "interval":
            converted = EveryTrigger(trigger.interval, trigger.start_date if has_start else None, trigger.end_date)
        case "calendarinterval":
            converted = _convert_calendar_interval(trigger, has_start=has_start)
        case "date":
            return AtTrigger(trigger.run_date, timezone)
        case kind:
            parts = [adopt_trigger(part, timezone) for part in trigger.triggers]
            converted = OrTrigger(parts) if kind == "or" else AndTrigger(parts)
    return JitterTrigger(converted, trigger.jitter) if trigger.jitter else converted


def _kind(trigger: Any) -> str | None:
    # By the name of the class: to import APScheduler for its classes takes 60 ms at each start.
    return _KINDS.get((type(trigger).__module__, type(trigger).__qualname__))


_KINDS = {
    ("apscheduler.triggers.interval", "IntervalTrigger"): "interval",
    ("apscheduler.triggers.calendarinterval", "CalendarIntervalTrigger"): "calendarinterval",
    ("apscheduler.triggers.date", "DateTrigger"): "date",
    ("apscheduler.triggers.combining", "OrTrigger"): "or",
    ("apscheduler.triggers.combining", "AndTrigger"): "and",
}


def _convert_calendar_interval(trigger: Any, *, has_start: bool) -> CalendarIntervalTrigger:
    counts = {unit: getattr(trigger, unit) for unit in ("years", "months", "weeks", "days")}
    for unit, count in counts.items():
        if not isinstance(count, int) or count < 0:
            raise TriggerError(f"{unit} must be a whole number of 0 or more, got {count!r}")
    return CalendarIntervalTrigger(
        months=12 * counts["years"] + counts["months"],
        days=7 * counts["weeks"] + counts["days"],
        at=trigger._time,  # noqa: SLF001 - it has no public name
        start=trigger.start_date if has_start else None,
        end=trigger.end_date,
        timezone=trigger.timezone,
    )


def _starts_at_creation(trigger: Any) -> bool:
    """Return whether APScheduler has filled in the start of a trigger object, as far as the object tells."""
    if _kind(trigger) == "interval":
        created: datetime = trigger.start_date - trigger.interval
        return bool(created.microsecond) and _LOADED <= created <= datetime.now(UTC)
    if _kind(trigger) == "calendarinterval":
        return bool(trigger.start_date == date.today())  # noqa: DTZ011 - as APScheduler does
    return False


def definition_text(trigger: Any) -> str:
    """Return the text by which the definition of a job keeps a trigger object.

    It has no memory addresses, and no start date that APScheduler has filled in: with either, each start of the process
    would change the schedule, and restart the count of its fires.
    """
    parts: Iterable[Any] = getattr(trigger, "triggers", ()) if is_convertible(trigger) else ()
    text = trigger_text(trigger)
    for one in (trigger, *parts):
        if _kind(one) == "calendarinterval" and _starts_at_creation(one):
            text = text.replace(f"start_date='{one.start_date}', ", "")
    return text
