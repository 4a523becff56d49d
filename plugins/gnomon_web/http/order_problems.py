"""Problems of orders that define jobs."""

from __future__ import annotations

from gnomon import GnomonError
from gnomon.errors import (
    ForeignJobError,
    FunctionNotAllowedError,
    JobConflictError,
    JobExistsError,
    JobKeysError,
    JobOrdersError,
)
from gnomon.safe_text import safe_str
from gnomon.wire import problems
from gnomon.wire.problems import Culprit
from gnomon_web.errors import ApiError, culprit

ORDER_ERRORS = (
    JobKeysError,
    JobOrdersError,
    FunctionNotAllowedError,
    JobExistsError,
    ForeignJobError,
    JobConflictError,
)


def from_order(exc: GnomonError, detail: str) -> ApiError:
    """Return the problem for an error of an order."""
    match exc:
        case JobOrdersError():
            return _from_list(exc, detail)
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


def _from_list(exc: JobOrdersError, detail: str) -> ApiError:
    """Return the problem of a list of jobs: that of all its wrong jobs where they have the same, else 422."""
    errors = []
    kinds = set()
    for number, problem in exc.problems.items():
        of_one = from_order(problem, safe_str(problem))
        kinds.add(of_one.kind)
        # What is wrong in a list is wrong in its body, also where one job has it in its path or a header.
        errors += [culprit("body", _place(number, one), one.detail) for one in of_one.problem.errors]
    kind = kinds.pop() if len(kinds) == 1 else problems.INVALID_JOB
    return ApiError(kind, detail, errors=errors)


def _place(number: int, found: Culprit) -> str:
    name = found.name if found.place == "body" else "id"
    return f"[{number}]{'.' if name else ''}{name}"
