"""The problems of orders that are not accepted: a full queue, and lists with orders that are not valid."""

from __future__ import annotations

from aiohttp import hdrs

from gnomon import GnomonError, IdempotencyKeyError, OverrideError, QueueFullError, RunOrdersError, UnknownJobError
from gnomon.errors import ArgumentError, queue_is_full
from gnomon.safe_text import safe_str
from gnomon.wire import problems
from gnomon_web.errors import ApiError, culprit

RETRY_AFTER_S = 1


def problem_of_orders(exc: QueueFullError | RunOrdersError, detail: str) -> ApiError:
    """Return the problem of a full queue, or of a list of orders."""
    if isinstance(exc, RunOrdersError):
        errors = [
            culprit("body", f"orders[{number}].{_place(problem)}", safe_str(problem))
            for number, problem in exc.problems.items()
        ]
        return ApiError(problems.INVALID_ORDERS, detail, errors=errors)
    detail = f"the queue of job {exc.job_id!r} has no room: {queue_is_full(exc.waiting, exc.limit)}"
    return ApiError(
        problems.QUEUE_FULL,
        detail,
        errors=[culprit("body", "job_id", detail)],
        headers={hdrs.RETRY_AFTER: str(RETRY_AFTER_S)},
        job_id=exc.job_id,
        waiting=exc.waiting,
        queue_limit=exc.limit,
    )


def _place(problem: GnomonError) -> str:
    match problem:
        case UnknownJobError():
            return "job_id"
        case IdempotencyKeyError():
            return "idempotency_key"
        case OverrideError(key=key):
            return f"kwargs.{key}"
    return problem.place if isinstance(problem, ArgumentError) else "kwargs"
