"""What changes when one set of job definitions replaces another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gnomon.domain.job_state import JobState

SCHEDULE_KEYS = (
    *("cron", "every", "at", "trigger", "schedules", "timezone"),
    *("start", "end", "jitter", "exclude"),
)
"""The keys of a definition that make up its schedule: a change of one restarts the count of its fires."""
NAMING_KEYS = ("cron", "every", "at", "trigger", "schedules")
"""The keys of which a job with its own schedule has one."""


class JobsDiff(msgspec.Struct, frozen=True):
    """The jobs that are added, changed (with the new value of each changed key) and removed."""

    added: list[str]
    changed: dict[str, dict[str, Any]]
    removed: list[str]


def difference(states: Mapping[str, JobState], definitions: Mapping[str, Mapping[str, Any]]) -> JobsDiff:
    """Compare the jobs in the log with the definitions that replace them; `paused` is left to the log."""
    known = {job_id: state for job_id, state in states.items() if not state.removed}
    changed = {
        job_id: changes
        for job_id, state in known.items()
        if job_id in definitions and (changes := changed_keys(state.definition, definitions[job_id]))
    }
    return JobsDiff(
        added=[job_id for job_id in definitions if job_id not in known],
        changed=changed,
        removed=sorted(known.keys() - definitions.keys()),
    )


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the new value of each key that differs, None for a key that is gone."""
    if old == new:
        return {}
    keys = (old.keys() | new.keys()) - {"paused"}
    return {key: new.get(key) for key in sorted(keys) if old.get(key) != new.get(key)}


def is_rescheduled(changes: Mapping[str, Any], definition: Mapping[str, Any]) -> bool:
    """Return whether a change of these keys restarts the count of the fires; `definition` is the new one.

    A job without a schedule has the times of its upstream jobs: it follows others only from then on.
    """
    if any(key in changes for key in SCHEDULE_KEYS):
        return True
    return "after" in changes and not any(definition.get(key) for key in NAMING_KEYS)
