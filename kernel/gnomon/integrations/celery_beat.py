"""Reads the schedule of Celery's beat as jobs that call the functions of its tasks.

Celery is not needed for that: what the application has made of its schedules is read by the names of their classes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import pairwise
from types import ModuleType
from typing import Any

from gnomon.errors import GnomonError
from gnomon.integrations.job_import import JobImport, NotTakenError
from gnomon.jobs.callables import import_module
from gnomon.safe_text import safe_str, type_name

SETTINGS = ("beat_schedule", "CELERY_BEAT_SCHEDULE", "CELERYBEAT_SCHEDULE")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = {
    "minute": frozenset(range(60)),
    "hour": frozenset(range(24)),
    "day_of_month": frozenset(range(1, 32)),
    "month_of_year": frozenset(range(1, 13)),
    "day_of_week": frozenset(range(7)),
}
"""The fields of Celery's crontab, and what each of them holds where it limits nothing."""


def read_beat_schedule(module: str, *, timezone: str = "UTC") -> JobImport:
    """Import "package.module", or "package.module:app", and return the jobs of its beat schedule.

    The module has a Celery application, or the schedule as a dict in one of the settings that Celery knows. The
    functions of the tasks are called as they are: in the kernel's process, without a broker. `timezone` is that of the
    kernel. GnomonError where the module has neither.
    """
    name, _, attribute = module.partition(":")
    loaded = import_module(name, module)
    app, schedule = _schedule_of(loaded, attribute)
    found = JobImport(f"the beat schedule of {module}")
    zone = _zone_of(app)
    for entry_name, entry in schedule.items():
        try:
            keys = _keys(entry, app, zone, found, str(entry_name))
        except NotTakenError as exc:
            found.refuse(str(entry_name), exc)
            continue
        if keys.get("timezone") == timezone:
            del keys["timezone"]
        job_id = found.free_id(str(entry_name))
        if found.take(str(entry_name), {"id": job_id, **keys}, timezone) is not None and job_id != entry_name:
            found.note(f"its name was {entry_name!r}, which is not valid here or is taken", job_id)
    if found.jobs:
        found.note(
            "tasks run in the kernel's process, without a broker: their retries and result backends do not apply"
        )
    return found


def _schedule_of(module: ModuleType, attribute: str) -> tuple[Any, Mapping[Any, Any]]:
    """Return the Celery application, if there is one, and the schedule."""
    candidates = [getattr(module, attribute, None)] if attribute else [module, *vars(module).values()]
    for candidate in candidates:
        conf = getattr(candidate, "conf", None) if _is_app(candidate) else None
        if conf is not None and isinstance(schedule := conf.beat_schedule, Mapping) and schedule:
            return candidate, schedule
    for owner in candidates:
        for name in SETTINGS:
            if isinstance(schedule := getattr(owner, name, None), Mapping):
                return None, schedule
    where = f"{module.__name__}:{attribute}" if attribute else module.__name__
    raise GnomonError(
        f"{where} has no beat schedule: expected a Celery application with conf.beat_schedule, or a dict named "
        f"{' or '.join(SETTINGS)}"
    )


def _is_app(value: Any) -> bool:
    return any(base.__module__.startswith("celery.") and base.__name__ == "Celery" for base in type(value).__mro__)


def _zone_of(app: Any) -> str | None:
    if app is None:
        return None
    return str(app.conf.timezone or "UTC")


def _keys(entry: Any, app: Any, zone: str | None, found: JobImport, name: str) -> dict[str, Any]:
    if not isinstance(entry, Mapping) or "task" not in entry or "schedule" not in entry:
        raise NotTakenError(f"it is {safe_str(entry)}, expected a dict with `task` and `schedule`")
    keys: dict[str, Any] = {"func": _function(str(entry["task"]), app), **_schedule(entry["schedule"])}
    if zone is not None and keys.keys() & {"cron", "trigger"}:
        keys["timezone"] = zone
    if entry.get("args"):
        keys["args"] = list(entry["args"])
    if entry.get("kwargs"):
        keys["kwargs"] = dict(entry["kwargs"])
    options = dict(entry.get("options") or {})
    if isinstance(expires := options.pop("expires", None), int | float | timedelta):
        keys["grace"] = expires if isinstance(expires, int | float) else expires.total_seconds()
    if options:
        listed = ", ".join(sorted(map(str, options)))
        found.note(f"its options {listed} are not taken: there is no broker", name)
    return keys


def _function(task: str, app: Any) -> str:
    """Return the name of the function of a task, as "module:name"."""
    registered = app.tasks.get(task) if app is not None else None
    if registered is not None:
        function = registered.run
        return _reachable(f"{function.__module__}:{function.__qualname__}", registered)
    module, _, name = task.rpartition(".")
    if not module:
        raise NotTakenError(
            f"no task {task!r} is registered: import the module that defines it, such as with `include` of the "
            "application, or name the application as module:app"
        )
    return f"{module}:{name}"


def _reachable(target: str, task: Any) -> str:
    """Return the name under which a task can be imported; a bound task only works through the task itself."""
    module, _, name = target.partition(":")
    if "<locals>" in name:
        raise NotTakenError(f"the function {target} of its task is defined within another function")
    found = getattr(sys.modules.get(module), name, None)
    if found is None or getattr(found, "name", None) != task.name:
        raise NotTakenError(f"its task {task.name!r} is not at {target}: give the task the name of its function")
    return target


def _schedule(schedule: Any) -> dict[str, Any]:
    if isinstance(schedule, timedelta):
        return {"every": schedule.total_seconds()}
    if isinstance(schedule, int | float) and not isinstance(schedule, bool):
        return {"every": schedule}
    kinds = {base.__name__ for base in type(schedule).__mro__ if base.__module__.startswith("celery.")}
    if "crontab" in kinds:
        return _crontab(schedule)
    if "solar" in kinds:
        raise NotTakenError(
            f"its schedule is {schedule}: Gnomon has no trigger for sunrise and sunset; a plugin can add one "
            "(the guide about adding a kind of trigger)"
        )
    if "schedule" in kinds:
        return {"every": schedule.run_every.total_seconds()}
    raise NotTakenError(f"its schedule is of type {type_name(schedule)}, expected crontab, timedelta or seconds")


def _crontab(schedule: Any) -> dict[str, Any]:
    values = {name: frozenset(getattr(schedule, name)) for name in FIELDS}
    texts = {name: "*" if found == FIELDS[name] else _listed(found) for name, found in values.items()}
    weekday = texts["day_of_week"]
    if weekday != "*":
        weekday = ",".join(WEEKDAYS[day] for day in sorted(values["day_of_week"]))
    begin, month = f"{texts['minute']} {texts['hour']}", texts["month_of_year"]
    lines = [f"{begin} {texts['day_of_month']} {month} *"]
    if weekday != "*":
        by_weekday = f"{begin} * {month} {weekday}"
        # For Celery both must match; for a crontab line either of them would do.
        lines = [by_weekday] if texts["day_of_month"] == "*" else [*lines, by_weekday]
    if len(lines) == 1:
        return {"cron": lines[0]}
    return {"trigger": {"type": "and", "triggers": [{"type": "cron", "expression": line} for line in lines]}}


def _listed(values: Iterable[int]) -> str:
    """Return a field of a crontab with these values: a range, a step from its lowest value, or a list."""
    ordered = sorted(values)
    steps = {after - before for before, after in pairwise(ordered)}
    if len(ordered) > 2 and len(steps) == 1:
        (step,) = steps
        return f"{ordered[0]}-{ordered[-1]}" + (f"/{step}" if step > 1 else "")
    return ",".join(map(str, ordered))
