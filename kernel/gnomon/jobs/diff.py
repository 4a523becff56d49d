"""What changes when one set of job definitions replaces another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gnomon.domain.job_state import JobState


class JobsDiff(msgspec.Struct, frozen=True):
    """What becomes of the jobs of the log when other definitions are put in their place."""

    added: list[str]
    changed: dict[str, dict[str, Any]]
    removed: list[str]


def difference(states: Mapping[str, JobState], definitions: Mapping[str, Mapping[str, Any]]) -> JobsDiff:
    """Compare the jobs that the log knows with definitions; whether a job is paused is the log's own affair."""
    known = {job_id: state for job_id, state in states.items() if not state.removed}
    changed = {
        job_id: changes
        for job_id, state in known.items()
        if job_id in definitions and (changes := _changes(state.definition, definitions[job_id]))
    }
    return JobsDiff(
        added=[job_id for job_id in definitions if job_id not in known],
        changed=changed,
        removed=sorted(known.keys() - definitions.keys()),
    )


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Tell the new value of each key that differs; None where it is gone."""
    if old == new:
        return {}
    keys = (old.keys() | new.keys()) - {"paused"}
    return {key: new.get(key) for key in sorted(keys) if old.get(key) != new.get(key)}
