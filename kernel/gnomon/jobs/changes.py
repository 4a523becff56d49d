"""Change some keys of a job, and check the result as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.errors import JobError
from gnomon.jobs.definition import convert_job
from gnomon.jobs.job import SCHEDULES, Job


def changed_job(job: Job, changes: Mapping[str, Any]) -> Job:
    """Return a job with some keys changed; None removes a key, and a schedule replaces the one before.

    JobError lists every key that is wrong. The id stays, and `paused` is left to the commands pause and resume.
    """
    if (new_id := changes.get("id", job.id)) != job.id:
        raise JobError(
            f"job {job.id!r} cannot become {new_id!r}: an id stays; add a job with that id and remove this one"
        )
    if "paused" in changes:
        raise JobError(f"job {job.id!r}: a change cannot set `paused`; pause or resume the job")
    return with_keys(job, changes)


def with_keys(job: Job, keys: Mapping[str, Any]) -> Job:
    """Return a job with some keys in place of its own, None for one that is removed; JobError."""
    kept = job.given()
    replaced = {*keys, *(SCHEDULES if any(keys.get(key) is not None for key in SCHEDULES) else ())}
    kept = {key: value for key, value in kept.items() if key not in replaced}
    return convert_job(kept | without_removed(keys), f"job {job.id!r}")


def without_removed(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys without those that are None; an unknown key stays, so that it is reported with any value."""
    return {key: value for key, value in keys.items() if value is not None or key not in Job.__struct_fields__}
