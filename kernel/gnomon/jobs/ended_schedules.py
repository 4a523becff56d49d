"""Schedules that have no fire to come: an `at` that is past, an `end` before the next fire, everything excluded."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from gnomon.errors import GnomonError, JobKeysError
from gnomon.jobs.job import Job
from gnomon.scheduling.calendar_interval import CalendarIntervalTrigger
from gnomon.scheduling.cron import CronTrigger
from gnomon.scheduling.triggers import AnchoredTrigger, AtTrigger, EveryTrigger
from gnomon.text import moment

OWN_TRIGGERS = (CronTrigger, EveryTrigger, AtTrigger, CalendarIntervalTrigger)
"""Triggers that answer at once; one of the program may take any time, and is asked where that is limited."""


class EndedSchedule(NamedTuple):
    """A schedule without a fire to come. `key` is the key to blame; `overdue` is the past fire that is still due."""

    key: str
    text: str
    overdue: datetime | None


def find_end(job: Job, trigger: AnchoredTrigger | None, now: datetime) -> EndedSchedule | None:
    """Return why a schedule that begins now has no fire to come, None for one that has some or cannot be asked."""
    if trigger is None or not _is_own(trigger) or trigger.fire_after(now, now) is not None:
        return None
    overdue = trigger.fire_after(None, now)
    if overdue is not None and overdue <= now:
        return EndedSchedule(job.schedule_key or "", f"{_shown(overdue)} is past, and no other fire comes", overdue)
    return EndedSchedule(*_cause(job, now), None)


def expect_fires(job: Job, trigger: AnchoredTrigger | None, now: datetime) -> None:
    """Raise JobKeysError for a new job that would never run, and so be removed at once, unless it has `keep`.

    A single time that is past is late, but due: `catch_up` decides about it.
    """
    if job.keep or job.at_start or job.after:
        return
    if (end := find_end(job, trigger, now)) is not None and end.overdue is None:
        raise JobKeysError(job.id, [(end.key, f"{end.text}; with keep = true it runs when it is triggered")])


def _cause(job: Job, now: datetime) -> tuple[str, str]:
    """Return the key to blame, and what is wrong with it."""
    if job.exclude and _first_without(job, now, exclude=[]) is not None:
        return "exclude", f"never fires again: all fires after now ({_shown(now)}) are excluded"
    if job.end is not None and (first := _first_without(job, now, end=None)) is not None:
        return "end", f"never fires: the end, {job.end}, is before the next fire, {_shown(first)}"
    return job.schedule_key or "", f"never fires again: it has no fire after now ({_shown(now)})"


def _first_without(job: Job, now: datetime, **keys: object) -> datetime | None:
    """Return the first fire of a job with some keys replaced, None where there is none."""
    try:
        trigger = msgspec.structs.replace(job, **keys).build_trigger()
    except GnomonError:
        return None
    return trigger.fire_after(now, now) if trigger is not None else None


def _is_own(trigger: object) -> bool:
    """Return whether a trigger and all in it are those of gnomon."""
    if isinstance(trigger, OWN_TRIGGERS):
        return True
    inner = getattr(trigger, "trigger", None)
    parts = [inner] if inner is not None else getattr(trigger, "triggers", ())
    return bool(parts) and type(trigger).__module__.startswith("gnomon.") and all(map(_is_own, parts))


def _shown(instant: datetime) -> str:
    return moment(instant, instant.tzinfo)
