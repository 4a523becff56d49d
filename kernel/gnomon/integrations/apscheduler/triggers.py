"""Translates APScheduler's triggers to keys of a job: `cron`, `at`, or a table for `trigger`.

Its cron trigger counts weekdays from Monday = 0, and all its fields must match. Here weekdays are written by name, and
a day of the month beside a weekday becomes an `and`, because in a crontab either of the two would do.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from gnomon.integrations.apscheduler.pickled_state import ForeignObject, load_state
from gnomon.integrations.job_import import NotTakenError
from gnomon.safe_text import safe_str

TRIGGERS = "apscheduler.triggers."
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NUMBERS = (1, 2, 3, 4, 5, 6, 0)
"""The number of each weekday in a crontab."""
MAXIMA = {"month": 12, "day": 31, "day_of_week": 6, "hour": 23, "minute": 59, "second": 59}
LAST = 5
"""The position that stands for the last one of its kind in a month."""

State = Mapping[str, Any]


def schedule_keys(trigger: Any) -> dict[str, Any]:
    """Return the keys of a job with the schedule of a trigger; NotTakenError where there is no counterpart.

    `trigger` is a ForeignObject from a pickled state, or a trigger itself, which is pickled and read again.
    """
    kind, state = _kind_and_state(trigger if isinstance(trigger, ForeignObject) else _foreign(trigger))
    if kind == "date.DateTrigger":
        return {"at": state["run_date"]}
    keys: dict[str, Any] = {}
    if state.get("jitter"):
        keys["jitter"] = state["jitter"]
        state = {**state, "jitter": None}
    if kind != "cron.CronTrigger":
        return {"trigger": _table(kind, state)} | keys
    keys |= {key: state[name] for name, key in (("start_date", "start"), ("end_date", "end")) if state.get(name)}
    table = _cron_table({**state, "start_date": None, "end_date": None})
    if "expression" not in table:
        return {"trigger": table} | keys
    zone = table.get("timezone")
    return {"cron": table["expression"]} | ({"timezone": zone} if zone else {}) | keys


def timezone_name(zone: Any) -> str | None:
    """Return the name of a time zone, None for none; NotTakenError for one that has none."""
    if zone is None or isinstance(zone, str):
        return zone
    if isinstance(key := getattr(zone, "key", getattr(zone, "zone", None)), str):
        return key
    if zone is UTC:
        return "UTC"
    if isinstance(zone, tzinfo) and (offset := zone.utcoffset(None)) is not None:
        sign, minutes = "+" if offset >= timedelta() else "-", abs(offset) // timedelta(minutes=1)
        return f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    name = zone.class_name if isinstance(zone, ForeignObject) else type(zone).__name__
    raise NotTakenError(f"its time zone is of the class {name}, which has no IANA name")


def _foreign(trigger: Any) -> ForeignObject:
    try:
        return load_state(pickle.dumps(trigger))  # type: ignore[no-any-return]  # a trigger is not a harmless type
    except NotTakenError:
        raise
    except Exception as exc:  # foreign code
        raise NotTakenError(
            f"its trigger {safe_str(trigger)} cannot be read: {type(exc).__name__}: {safe_str(exc)}"
        ) from exc


def _kind_and_state(trigger: ForeignObject) -> tuple[str, State]:
    if not isinstance(trigger, ForeignObject):
        raise NotTakenError(f"its trigger is {trigger!r}")
    return trigger.class_name.removeprefix(TRIGGERS), trigger.fields


def _table(kind: str, state: State) -> dict[str, Any]:
    match kind:
        case "date.DateTrigger":
            table = {"type": "date", "run_date": state["run_date"]}
        case "interval.IntervalTrigger":
            # The start is always there, so the job keeps its rhythm.
            table = {"type": "interval", "seconds": _number(state["interval"].total_seconds())}
            table |= {"start_date": state["start_date"], "end_date": state["end_date"]}
        case "calendarinterval.CalendarIntervalTrigger":
            table = {"type": kind.partition(".")[0]}
            table |= dict(zip(("years", "months", "weeks", "days"), state["interval"], strict=True))
            table |= dict(zip(("hour", "minute", "second"), state["time"], strict=True))
            table |= {"start_date": state["start_date"], "end_date": state["end_date"]}
            table["timezone"] = timezone_name(state["timezone"])
        case "cron.CronTrigger":
            table = _cron_table(state)
        case "combining.AndTrigger" | "combining.OrTrigger":
            table = {"type": "and" if "And" in kind else "or", "triggers": _parts(state["triggers"])}
        case _:
            raise NotTakenError(
                f"its trigger is of the class {kind}; if an entry point of the group apscheduler.triggers has it, "
                'write trigger = { type = "NAME", ... }'
            )
    if state.get("jitter"):
        table["jitter"] = state["jitter"]
    return {key: _written(value) for key, value in table.items() if value is not None and value != 0}


def _parts(parts: Iterable[tuple[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for reference, state in parts:  # a combined trigger keeps its parts as names of classes with their states
        fields = state[1] if isinstance(state, tuple) else state
        found.append(_table(reference.replace(":", ".").removeprefix(TRIGGERS), fields))
    return found


def _cron_table(state: State) -> dict[str, Any]:
    if limits := _limits(state):
        raise NotTakenError(f"a cron trigger within its trigger has {' and '.join(limits)}, which only a job can have")
    zone = timezone_name(state.get("timezone"))
    tables = [{"type": "cron", **one, "timezone": zone} for one in _cron(state)]
    tables = [{key: value for key, value in table.items() if value is not None} for table in tables]
    return tables[0] if len(tables) == 1 else {"type": "and", "triggers": tables}


def _limits(state: State) -> list[str]:
    return [name for name in ("start_date", "end_date", "jitter") if state.get(name)]


def _cron(state: State) -> list[dict[str, str]]:
    """Return what must match, as keys of a table: once, or twice where the day of the month and the weekday must."""
    fields = {field.fields["name"]: field.fields["expressions"] for field in state["fields"]}
    texts = {name: ",".join(_expression(name, one) for one in found) for name, found in fields.items()}
    rare = {name: texts[name] for name in ("year", "week") if texts.get(name, "*") != "*"}
    days = [one for one in texts["day"].split(",") if not one.startswith("dow:")]
    positions = [one.removeprefix("dow:") for one in texts["day"].split(",") if one.startswith("dow:")]
    # Within the one field, a day of the month or a position will do: that is what a crontab does with its two fields.
    pairs = [(",".join(days) or "*", ",".join(positions) or "*")]
    if texts["day_of_week"] != "*":
        weekday = ("*", texts["day_of_week"])
        pairs = [weekday] if texts["day"] == "*" else [*pairs, weekday]
    return [_cron_keys({**texts, "day": day, "day_of_week": weekday}, rare) for day, weekday in pairs]


def _cron_keys(texts: Mapping[str, str], rare: Mapping[str, str]) -> dict[str, str]:
    line = " ".join(texts[name] for name in ("minute", "hour", "day", "month", "day_of_week"))
    seconds = texts["second"]
    if not rare:
        return {"expression": line if seconds == "0" else f"{seconds} {line}"}
    keys = {name: texts[name] for name in ("month", "day", "day_of_week", "hour", "minute")}
    return {**rare, **keys} | ({"second": seconds} if seconds != "0" else {})


def _expression(field: str, expression: ForeignObject) -> str:
    kind, state = expression.class_name.rpartition(".")[2], expression.fields
    step = state.get("step")
    match kind:
        case "AllExpression" if field == "day_of_week" and step:
            return _weekdays(range(0, 7, step))
        case "AllExpression":
            return f"*/{step}" if step else "*"
        case "RangeExpression" | "MonthRangeExpression" | "WeekdayRangeExpression":
            first = state["first"]
            last = state["last"] if state["last"] is not None else MAXIMA.get(field, first) if step else first
            if field == "day_of_week":
                return _weekdays(range(first, last + 1, step or 1))
            return f"{first}" if first == last else f"{first}-{last}" + (f"/{step}" if step else "")
        case "WeekdayPositionExpression":
            number, position = NUMBERS[state["weekday"]], state["option_num"]
            return f"dow:{number}L" if position == LAST else f"dow:{number}#{position + 1}"
        case "LastDayOfMonthExpression":
            return "L"
    raise NotTakenError(f"its cron trigger has an expression of the class {expression.class_name}")


def _weekdays(days: range) -> str:
    if days.step == 1 and len(days) > 2:
        return f"{WEEKDAYS[days[0]]}-{WEEKDAYS[days[-1]]}"
    return ",".join(WEEKDAYS[day] for day in days)


def _number(seconds: float) -> int | float:
    return int(seconds) if seconds == int(seconds) else seconds


def _written(value: Any) -> Any:
    """Return a value as JSON and TOML have it."""
    return value.isoformat() if isinstance(value, date | datetime) else value
