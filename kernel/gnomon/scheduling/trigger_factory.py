"""Build triggers from tables of a config, such as `{ type = "interval", minutes = 10 }`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from importlib.metadata import entry_points

from gnomon.errors import TriggerError
from gnomon.scheduling.combined_triggers import AndTrigger, JitterTrigger, OrTrigger
from gnomon.scheduling.cron import CRON_EXAMPLE, CronTrigger
from gnomon.scheduling.cron_calendar_fields import limit_to_fields
from gnomon.scheduling.foreign_triggers import ForeignTrigger, convert_trigger, is_convertible
from gnomon.scheduling.limited_triggers import FilteredTrigger
from gnomon.scheduling.timezones import parse_timezone
from gnomon.scheduling.triggers import AnchoredTrigger, Trigger
from gnomon.signatures import signature_of
from gnomon.text import nearest

# The keys of { type = "cron", ... }, the coarsest first, with the lowest value of each.
CRON_KEYS = {
    "year": "*",
    "month": "1",
    "day": "1",
    "week": "*",
    "day_of_week": "*",
    "hour": "0",
    "minute": "0",
    "second": "0",
}
INTERVAL_KEYS = ("weeks", "days", "hours", "minutes", "seconds")
ENTRY_POINTS = "apscheduler.triggers"


def build_trigger(spec: Mapping[str, object], timezone: tzinfo) -> AnchoredTrigger:
    """Build a trigger from a table of the config: `{ type = "interval", minutes = 10 }`.

    `type` is a name in APScheduler's entry-point group (interval, date, calendarinterval, …), and the other keys are
    the arguments of that trigger. "cron" has an `expression`, or fields by name, where fields finer than the finest
    given one take their lowest value, so `{ hour = 3 }` is 03:00, and `{ week = 10 }` is 00:00 on the Monday of that
    ISO week. "and" and "or" have a list of tables, `triggers`.
    `timezone` is the zone of triggers that take one and do not name it. Raises TriggerError.
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
    if kind == "or":
        return _build_or(arguments, timezone)
    if "triggers" in arguments:
        arguments["triggers"] = _build_parts(kind, arguments["triggers"], timezone)
    return _build_foreign(kind, arguments, timezone)


def _build_or(arguments: dict[str, object], timezone: tzinfo) -> AnchoredTrigger:
    _refuse_unknown("or", arguments, ("triggers", "jitter", "timezone"))
    trigger, jitter = OrTrigger(_build_parts("or", arguments.get("triggers"), timezone)), arguments.get("jitter")
    if jitter is None:
        return trigger
    if not isinstance(jitter, int | float) or not 0 < jitter < float("inf"):
        raise TriggerError(f"trigger 'or': jitter must be a number of seconds above 0, got {jitter!r}")
    return JitterTrigger(trigger, jitter)


def _read_timezone(zone: object) -> tzinfo:
    if isinstance(zone, tzinfo):
        return zone
    return parse_timezone(str(zone))


def _build_cron(arguments: dict[str, object], timezone: tzinfo) -> CronTrigger | FilteredTrigger:
    _refuse_unknown("cron", arguments, ("expression", "timezone", *CRON_KEYS))
    fields = {key: str(value) for key, value in arguments.items() if key in CRON_KEYS}
    expression = arguments.get("expression")
    if expression is None and fields:
        return limit_to_fields(CronTrigger(_crontab_line(fields), timezone), fields)
    if fields or not isinstance(expression, str):
        raise TriggerError(
            f"trigger 'cron' needs either an expression or some of {', '.join(CRON_KEYS)}, not {arguments}; "
            f"{CRON_EXAMPLE}"
        )
    return CronTrigger(expression, timezone)


def _crontab_line(fields: Mapping[str, str]) -> str:
    keys = list(CRON_KEYS)
    finest = max(keys.index(key) for key in fields)
    lowest = CRON_KEYS
    if finest == keys.index("day"):
        finest = keys.index("day_of_week")  # the day of the month and the day of the week rank equally
    elif finest == keys.index("week"):
        lowest = {**CRON_KEYS, "day_of_week": "1"}  # a week begins on Monday
    line = {key: fields.get(key, "*" if keys.index(key) <= finest else lowest[key]) for key in keys}
    seconds = [line["second"]] if "second" in fields else []
    return " ".join([*seconds, *(line[key] for key in ("minute", "hour", "day", "month", "day_of_week"))])


def _build_parts(kind: str, parts: object, timezone: tzinfo) -> list[AnchoredTrigger]:
    tables = parts if isinstance(parts, Sequence) and not isinstance(parts, str) else ()
    if tables and all(isinstance(table, Mapping) for table in tables):
        return [build_trigger(table, timezone) for table in tables]
    raise TriggerError(
        f"trigger {kind!r} needs a list of tables, triggers = [{{ type = ... }}, {{ type = ... }}], not {parts!r}"
    )


def _build_foreign(kind: str, arguments: dict[str, object], timezone: tzinfo) -> AnchoredTrigger:
    factory = _find_factory(kind)
    parameters = _parameters(factory)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        known = parameters if "triggers" not in parameters else (*parameters, "timezone")
        _refuse_unknown(kind, arguments, known)
    if "timezone" in parameters:
        arguments.setdefault("timezone", timezone)
    else:
        arguments.pop("timezone", None)
    if kind == "interval" and not any(arguments.get(key) for key in INTERVAL_KEYS):
        # APScheduler would default to one second.
        raise TriggerError(f"trigger 'interval' needs one of {', '.join(INTERVAL_KEYS)}, for example minutes = 10")
    if kind == "date" and "run_date" not in arguments:
        raise TriggerError("trigger 'date' needs a run_date, for example run_date = 2026-12-01T09:00:00")
    given = ", ".join(f"{key} = {value!s}" for key, value in arguments.items()) or "no arguments"
    try:
        built = factory(**arguments)
        if is_convertible(built):
            return convert_trigger(built, timezone, has_start="start_date" in arguments)
        trigger = ForeignTrigger(built, timezone)
        _try_twice(trigger)
    except (TypeError, ValueError, OverflowError) as problem:
        raise TriggerError(f"trigger {kind!r} cannot be built with {given}: {problem}") from problem
    return trigger


def _try_twice(trigger: Trigger) -> None:
    # A trigger may accept arguments with which it fails, or does not move on, when the job is due.
    now = datetime.now(UTC)
    first = trigger.get_next_fire_time(None, now)
    second = trigger.get_next_fire_time(first, now) if first else None
    if first and second and second <= first:
        raise ValueError(f"it does not move on: the fire after {first} is {second}")


@lru_cache(maxsize=64)
def _parameters(factory: Callable[..., Trigger]) -> Mapping[str, inspect.Parameter]:
    return signature_of(factory).parameters


@lru_cache(maxsize=64)
def _find_factory(kind: str) -> Callable[..., Trigger]:
    for found in entry_points(group=ENTRY_POINTS, name=kind):
        try:
            factory: Callable[..., Trigger] = found.load()
        except (ImportError, AttributeError) as problem:
            raise TriggerError(f"trigger type {kind!r} ({found.value}) cannot be loaded: {problem}") from problem
        return factory
    known = sorted({"and", "cron", *(found.name for found in entry_points(group=ENTRY_POINTS))})
    hint = nearest(kind, known)
    raise TriggerError(
        (f"unknown trigger type {kind!r}" if kind else "a trigger table needs a type")
        + (f", perhaps {hint!r}" if hint else "")
        + f'; known are {", ".join(known)}; for example {{ type = "interval", minutes = 10 }}'
    )


def _refuse_unknown(kind: str, arguments: Iterable[str], known: Collection[str]) -> None:
    for argument in arguments:
        if argument not in known:
            hint = nearest(argument, known)
            raise TriggerError(
                f"trigger {kind!r} has no argument {argument!r}"
                + (f", perhaps {hint!r}" if hint else "")
                + f"; it has {', '.join(known)}"
            )
