"""JSON merge patches (RFC 7396) of a job's definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gnomon.conversion import Table, struct_among
from gnomon.jobs.job import SCHEDULES, Job


def patched_definition(definition: Table, patch: Table) -> dict[str, Any]:
    """Return a definition with a patch applied: null removes a key, tables are merged, all else is replaced.

    A schedule in the patch takes the place of the schedule that there was. A null for a key that no job has stays, so
    that the check of the keys names it.
    """
    given = {key for key in SCHEDULES if patch.get(key) is not None}
    kept = {key: value for key, value in definition.items() if not given or key in given or key not in SCHEDULES}
    merged: dict[str, Any] = merge_patch(kept, patch)
    owned = definition.get("options", {})  # keys of plugins, which a patch may have without their table
    removed = {key: None for key in owned if patch.get(key, key) is None}
    if removed:
        merged["options"] = merge_patch(merged.get("options"), removed)
    _keep_unknown(merged, {key: value for key, value in patch.items() if key not in removed}, Job)
    return merged


def _keep_unknown(merged: dict[str, Any], patch: Table, into: type[msgspec.Struct]) -> None:
    types = {field.encode_name: field.type for field in msgspec.structs.fields(into)}
    for key, value in patch.items():
        if key not in types:
            merged.setdefault(key, value)
        elif isinstance(value, Mapping) and (nested := struct_among(types[key])) is not None:
            _keep_unknown(merged[key], value, nested)


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
