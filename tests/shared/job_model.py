"""A sequential model of one job that is added, changed, paused, resumed and removed: what each order must answer."""

from __future__ import annotations

from typing import Any, NamedTuple

from linearizability import Operation

EXISTS, UNKNOWN, DONE = "JobExistsError", "UnknownJobError", "done"


class ModelJob(NamedTuple):
    """A job that is there; `definition` is the text that the last add or change has given it."""

    definition: str
    paused: bool = False


def job_model(job: ModelJob | None, operation: Operation) -> tuple[Any, ModelJob | None]:  # noqa: PLR0911 - one for each call
    """Return the answer to an operation on the job, None where it is not there, and the job after it."""
    match operation.call, job:
        case "read", _:
            return job, job
        case "add", None:
            return DONE, ModelJob(str(operation.argument))
        case "add", _:
            return EXISTS, job
        case _, None:
            return UNKNOWN, None
        case "change", _:
            return DONE, job._replace(definition=str(operation.argument))
        case "remove", _:
            return DONE, None
        case "pause", _:
            return not job.paused, job._replace(paused=True)
        case "resume", _:
            return job.paused, job._replace(paused=False)
    raise AssertionError(operation)
