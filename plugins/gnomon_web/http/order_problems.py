"""Problems of orders that define jobs."""

from __future__ import annotations

from gnomon import GnomonError
from gnomon.errors import FunctionNotAllowedError, JobConflictError, JobExistsError, JobKeysError
from gnomon.wire import problems
from gnomon_web.errors import ApiError, culprit


def from_order(exc: GnomonError, detail: str) -> ApiError:
    """Return the problem for an error of an order."""
    match exc:
        case JobKeysError():
            errors = [culprit("body", key, text) for key, text in exc.problems]
            return ApiError(problems.INVALID_JOB, detail, errors=errors)
        case FunctionNotAllowedError():
            return ApiError(problems.FUNCTION_NOT_ALLOWED, detail, errors=[culprit("body", "func", detail)])
        case JobExistsError():
            return ApiError(problems.JOB_EXISTS, detail, errors=[culprit("body", "id", detail)])
        case JobConflictError():
            return ApiError(problems.JOB_CHANGED, detail, errors=[culprit("header", "If-Match", detail)])
    return ApiError(problems.JOB_DEFINED_ELSEWHERE, detail, errors=[culprit("path", "job_id", detail)])
