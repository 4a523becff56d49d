"""JSON merge patches (RFC 7396) of a job's definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.conversion import Table
from gnomon.jobs.job import SCHEDULES


def patched_definition(definition: Table, patch: Table) -> dict[str, Any]:
    """Return a definition with a patch applied: null removes a key, tables are merged, all else is replaced.

    A schedule in the patch takes the place of the schedule that there was.
    """
    given = {key for key in SCHEDULES if patch.get(key) is not None}
    kept = {key: value for key, value in definition.items() if not given or key in given or key not in SCHEDULES}
    merged: dict[str, Any] = merge_patch(kept, patch)
    return merged


def merge_patch(target: Any, patch: Any) -> Any:
    """Return a JSON value with a merge patch applied, as RFC 7396 defines it."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
