"""Build the trigger of a job from the keys of its schedule, and name the key of every problem."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import msgspec

from gnomon.conversion import convert
from gnomon.durations import Duration
from gnomon.errors import ConfigError, GnomonError, JobError, TriggerError
from gnomon.jobs.plain_values import PREPARED
from gnomon.safe_text import is_instance, safe_repr
from gnomon.scheduling.combined_triggers import OrTrigger
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.exclusions import read_exclusion, to_instant
from gnomon.scheduling.foreign_triggers import adopt_trigger, is_trigger
from gnomon.scheduling.hashed_jitter import HashedJitterTrigger
from gnomon.scheduling.limited_triggers import BoundedTrigger, FilteredTrigger
from gnomon.scheduling.timezones import parse_timezone
from gnomon.scheduling.trigger_factory import build_trigger
from gnomon.scheduling.triggers import AnchoredTrigger, AtTrigger, EveryTrigger

SINGLE = ("cron", "every", "at", "trigger")
"""The keys that hold one schedule; a job or an entry of `schedules` has one of them."""
WALKABLE = (CronTrigger, EveryTrigger, AtTrigger, BoundedTrigger)
BOUNDABLE = (CronTrigger, EveryTrigger, AtTrigger)
"""The triggers of which it shows that no fire is between a start and an end."""
FIRST = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class ScheduleKeys(NamedTuple):
    """The keys of a job that make up its schedule, and its id."""

    job_id: str
    cron: str | None
    every: timedelta | None
    at: datetime | None
    trigger: Any
    schedules: Sequence[Any]
    timezone: str | None
    start: datetime | None
    end: datetime | None
    jitter: timedelta | None
    exclude: Sequence[Any]


class ScheduleTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of `schedules`: one schedule among several of a job."""

    PREPARED: ClassVar[Mapping[str, Callable[[Any], Any]]] = PREPARED

    cron: str | None = None
    every: Duration | None = None
    at: datetime | None = None
    trigger: dict[str, Any] | None = None
    timezone: str | None = None
    start: datetime | None = None
    end: datetime | None = None


class ScheduleProblem(NamedTuple):
    """What is wrong with a schedule; `key` is the key to blame, such as `exclude[1]`."""

    key: str
    error: GnomonError


def build_schedule(keys: ScheduleKeys) -> AnchoredTrigger | None:
    """Build the trigger, None for a job without a schedule; raise the first problem, a TriggerError or JobError."""
    problems: list[ScheduleProblem] = []
    trigger = check_schedule(keys, problems)
    if problems:
        raise problems[0].error
    return trigger


def check_schedule(keys: ScheduleKeys, problems: list[ScheduleProblem]) -> AnchoredTrigger | None:
    """Build the trigger as `build_schedule` does, but add every problem to `problems`."""
    zone = _attempt(problems, "timezone", parse_timezone, keys.timezone or "UTC")
    zone = zone if zone is not None else UTC  # to look at the other keys
    trigger = _build_any(keys, zone, problems)
    exclusions = [
        exclusion
        for n, given in enumerate(keys.exclude)
        if (exclusion := _attempt(problems, f"exclude[{n}]", read_exclusion, given, zone)) is not None
    ]
    if trigger is None or problems:
        return None
    if exclusions:
        base = trigger
        trigger = FilteredTrigger(trigger, exclusions)
        if isinstance(base, WALKABLE) and trigger.fire_after(None, FIRST) is None:
            problems.append(ScheduleProblem("exclude", TriggerError("the job never fires: all its fires are excluded")))
            return None
    if keys.jitter is not None:
        jittered = _attempt(problems, "jitter", HashedJitterTrigger, trigger, keys.jitter, keys.job_id)
        if jittered is None:
            return None
        trigger = jittered
    return trigger


def _attempt(problems: list[ScheduleProblem], key: str, build: Any, *args: Any) -> Any:
    try:
        return build(*args)
    except GnomonError as exc:
        problems.append(ScheduleProblem(key, exc))
    return None


def _build_any(keys: ScheduleKeys, zone: tzinfo, problems: list[ScheduleProblem]) -> AnchoredTrigger | None:
    if not keys.schedules:
        key = next((name for name in SINGLE if getattr(keys, name) is not None), None)
        if key is None:
            return None
        trigger: AnchoredTrigger | None = _attempt(problems, key, _build_single, keys, zone)
        return _bounded(trigger, keys, zone, problems, "")
    parts: list[AnchoredTrigger | None] = []
    for n, given in enumerate(keys.schedules):
        place = f"schedules[{n}]"
        table = _attempt(problems, place, _read_table, given)
        if table is None:
            continue
        own_zone = zone
        if table.timezone is not None:
            own_zone = _attempt(problems, f"{place}.timezone", parse_timezone, table.timezone)
        if own_zone is not None:
            part = _attempt(problems, place, _build_single, table, own_zone)
            parts.append(_bounded(part, table, own_zone, problems, f"{place}."))
    built = [part for part in parts if part is not None]
    if problems:
        return None
    return _bounded(OrTrigger(built) if len(built) > 1 else built[0], keys, zone, problems, "")


def _read_table(given: Any) -> ScheduleTable:
    if not is_instance(given, Mapping):
        raise TriggerError(
            f'expected a table such as {{ cron = "0 18 * * 1-5" }} or {{ every = "10m" }}, got {safe_repr(given)}'
        )
    try:
        table = convert(given, ScheduleTable, "it")
    except ConfigError as exc:
        raise TriggerError("; ".join(problem.removeprefix("it: ") for problem in exc.problems)) from exc
    count = sum(getattr(table, name) is not None for name in SINGLE)
    if count != 1:
        found = " and ".join(name for name in SINGLE if getattr(table, name) is not None) or "none of them"
        raise TriggerError(f"an entry of schedules has one of {', '.join(SINGLE)}, got {found}")
    return table


def _build_single(keys: ScheduleKeys | ScheduleTable, zone: tzinfo) -> AnchoredTrigger:
    if keys.cron is not None:
        return _cron(keys.cron, zone)
    if keys.every is not None:
        # Counted from the start, if there is one, as APScheduler does.
        return _every(keys.every, to_instant(keys.start, zone) if keys.start is not None else None)
    if keys.at is not None:
        return AtTrigger(keys.at, zone)
    if is_instance(keys.trigger, Mapping):
        return build_trigger(keys.trigger, zone)
    if not is_trigger(keys.trigger):
        owner = f"job {keys.job_id!r}: " if isinstance(keys, ScheduleKeys) else ""
        hint = f', such as trigger = {{ type = "{keys.trigger}", ... }}' if is_instance(keys.trigger, str) else ""
        raise JobError(
            f"{owner}trigger is {safe_repr(keys.trigger)}, expected a trigger object or a table with a `type`{hint}"
        )
    return adopt_trigger(keys.trigger, zone)


# These triggers have no state, so equal ones are shared: with 100,000 jobs on few schedules that saves 10 MB.
_cron = lru_cache(maxsize=1024, typed=True)(CronTrigger)
_every = lru_cache(maxsize=1024, typed=True)(EveryTrigger)


def _bounded(
    trigger: AnchoredTrigger | None,
    keys: ScheduleKeys | ScheduleTable,
    zone: tzinfo,
    problems: list[ScheduleProblem],
    place: str,
) -> AnchoredTrigger | None:
    if trigger is None or (keys.start is None and keys.end is None):
        return trigger
    start, end = (
        _attempt(problems, f"{place}{name}", to_instant, at, zone) if (at := getattr(keys, name)) is not None else None
        for name in ("start", "end")
    )
    if start is not None and end is not None and end < start:
        problems.append(
            ScheduleProblem(f"{place}end", TriggerError(f"end ({keys.end}) is before start ({keys.start})"))
        )
        return None
    bounded = BoundedTrigger(trigger, start, end)
    if not isinstance(trigger, BOUNDABLE) or bounded.fire_after(None, FIRST) is not None:
        return bounded
    if isinstance(trigger, AtTrigger):
        key, problem = "at", f"at ({trigger.at}) is not between start and end: it never fires"
    else:
        key = "end" if keys.end is not None else "start"
        problem = f"never fires: no fire is between start ({keys.start or 'none'}) and end ({keys.end or 'none'})"
    problems.append(ScheduleProblem(f"{place}{key}", TriggerError(problem)))
    return None


def plain_schedules(given: Sequence[Any]) -> Iterator[Any]:
    """Yield the entries of `schedules` as the log keeps them: durations as text."""
    for table in given:
        if is_instance(table, Mapping):
            yield {
                key: str(Duration.parse(value)) if isinstance(value, timedelta) else value
                for key, value in table.items()
            }
        else:
            yield table
