"""The fields `year` and `week` of a cron trigger in its table form, which crontab lines do not have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import msgspec

from gnomon.errors import TriggerError
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.limited_triggers import FilteredTrigger
from gnomon.scheduling.timezones import LATEST, first_instant

LIMITS = {"year": (1970, 9999), "week": (1, 53)}
_PART = re.compile(r"(?:(?P<any>\*)|(?P<first>\d+)(?:-(?P<last>\d+))?)(?:/(?P<step>\d+))?", re.ASCII)
EXAMPLES = {"year": '"2026-2028"', "week": '"1-52/2"'}
_NEVER = datetime.max.replace(tzinfo=UTC)


class OtherYears(msgspec.Struct, frozen=True):
    """Excludes fires in years that a field does not name."""

    field: str
    years: frozenset[int]
    zone: tzinfo

    def ends_after(self, fire: datetime) -> datetime | None:
        """Return the begin of the next year that the field names."""
        year = fire.astimezone(self.zone).year
        if year in self.years:
            return None
        following = min((one for one in self.years if one > year), default=None)
        return _begin_of(date(following, 1, 1), self.zone) if following is not None else _NEVER

    def explain(self) -> str:
        """Describe the years, to follow `except`."""
        return f"in years other than {self.field}"


class OtherWeeks(msgspec.Struct, frozen=True):
    """Excludes fires in ISO weeks that a field does not name."""

    field: str
    weeks: frozenset[int]
    zone: tzinfo

    def ends_after(self, fire: datetime) -> datetime | None:
        """Return the begin of the next ISO week that the field names."""
        day = fire.astimezone(self.zone).date()
        if day.isocalendar().week in self.weeks:
            return None
        try:
            monday = day + timedelta(days=7 - day.weekday())
            while monday.isocalendar().week not in self.weeks:
                monday += timedelta(days=7)
        except OverflowError:
            return _NEVER
        return _begin_of(monday, self.zone)

    def explain(self) -> str:
        """Describe the weeks, to follow `except`."""
        return f"in ISO weeks other than {self.field}"


def limit_to_fields(trigger: CronTrigger, fields: Mapping[str, str]) -> CronTrigger | FilteredTrigger:
    """Return a trigger with the fires of a cron trigger in the years and ISO weeks that the fields name."""
    found: list[OtherYears | OtherWeeks] = []
    for name, kind in (("year", OtherYears), ("week", OtherWeeks)):
        if fields.get(name, "*") != "*":
            values = _read_field(name, fields[name])
            found.append(kind(fields[name], values, trigger.timezone))
    if not found:
        return trigger
    limited = FilteredTrigger(trigger, found)
    if limited.fire_after(None, _FIRST) is None:
        raise TriggerError(
            f"trigger 'cron' never fires: no date has {' and '.join(f'{k} = {v}' for k, v in fields.items() if v)}"
        )
    return limited


_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


def _read_field(name: str, text: str) -> frozenset[int]:
    lowest, highest = LIMITS[name]
    values: set[int] = set()
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        first = lowest if found is None or found["any"] else int(found["first"])
        last = int(found["last"]) if found and found["last"] else first
        if found and (found["any"] or (found["step"] and not found["last"])):
            last = highest
        step = int(found["step"]) if found and found["step"] else 1
        if found is None or not lowest <= first <= last <= highest or step < 1:
            raise TriggerError(
                f"trigger 'cron': the {name} field {text!r} is not {lowest}-{highest}, nor a list, range or step of "
                f"them; for example {name} = {EXAMPLES[name]}"
            )
        values.update(range(first, last + 1, step))
    return frozenset(values)


def _begin_of(day: date, zone: tzinfo) -> datetime:
    begin = first_instant(zone, datetime.combine(day, time()))
    return min(begin, LATEST + timedelta(days=1))
