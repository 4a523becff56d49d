"""Errors of a client. Where the kernel has its own error for a problem, the client raises that one."""

from __future__ import annotations

import re

from gnomon.errors import (
    ArgumentError,
    ExecutionOverError,
    ExecutionRunningError,
    ForeignJobError,
    FunctionNotAllowedError,
    GnomonError,
    IdempotencyKeyError,
    JobConflictError,
    JobError,
    JobExistsError,
    JobKeysError,
    JobOrdersError,
    OverrideError,
    PastError,
    QueueFullError,
    RunOrdersError,
    UnknownExecutionError,
    UnknownJobError,
)
from gnomon.wire import problems
from gnomon.wire.problems import Problem

_ORDER = re.compile(r"orders\[(\d+)\]")
_LISTED = re.compile(r"\[(\d+)\]\.?(.*)")


class ClientError(GnomonError):
    """A request failed. `status` is the HTTP status of the answer, None where there was no answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NoServerError(ClientError):
    """No kernel answers at this address."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(
            f"no kernel answers at {url} ({problem}): check that it is running with the plugin web, and the address"
        )
        self.url = url


class NotAllowedError(ClientError):
    """The server does not accept the token, or the token's role does not allow the call."""


class LogReplacedError(ClientError):
    """The followed log was replaced by another one, or its unread part was pruned."""


def error_of(problem: Problem, *, url: str, has_token: bool, subject: str | None = None) -> GnomonError:
    """Return the error for a problem, the kernel's own where it has one; `subject` is the job or execution in it."""
    if subject is not None:
        error = _run_order_error(problem, subject) or _kernel_error(problem, subject)
        if error is not None:
            return error
    detail, status = problem.detail or problem.title, problem.status
    if status == 401:
        return NotAllowedError(_unauthenticated(url, has_token=has_token), status)
    if status == 403:
        return NotAllowedError(f"the kernel at {url} refused the request: {detail}", status)
    return ClientError(f"the kernel at {url} answered {status}: {detail}", status)


def _run_order_error(problem: Problem, subject: str) -> GnomonError | None:
    if problem.is_a(problems.QUEUE_FULL):
        return QueueFullError(problem.job_id or subject, problem.waiting or 0, problem.queue_limit or 0)
    if not problem.is_a(problems.INVALID_ORDERS):
        return None
    found = {int(match[1]): JobError(one.detail) for one in problem.errors if (match := _ORDER.match(one.name))}
    refused = RunOrdersError({**found}, len(found))
    refused.args = (problem.detail,)  # the server knows how many orders there were
    return refused


def _kernel_error(problem: Problem, subject: str) -> GnomonError | None:
    if problem.is_a(problems.UNKNOWN_JOB):
        error = UnknownJobError(subject)
        error.args = (problem.detail,)  # the server knows the jobs, so its message may suggest a similar one
        return error
    if problem.is_a(problems.UNKNOWN_EXECUTION) or problem.is_a(problems.UNKNOWN_PAST):
        return UnknownExecutionError(subject) if problem.is_a(problems.UNKNOWN_EXECUTION) else PastError(problem.detail)
    if problem.is_a(problems.EXECUTION_OVER):
        return ExecutionOverError(subject, problem.execution_status or "over")
    if problem.is_a(problems.EXECUTION_RUNNING):
        return ExecutionRunningError(subject, problem.execution_status or "running")
    if problem.is_a(problems.ARGUMENT_NOT_ACCEPTED):
        names = [culprit.name.removeprefix("kwargs.") for culprit in problem.errors]
        refused = OverrideError(subject, next(iter(names), ""), [])
        refused.args = (problem.detail,)  # the server knows what may be set
        return refused
    return _unfit(problem, subject) if problem.is_a(problems.INVALID_ARGUMENTS) else _order_error(problem, subject)


def _order_error(problem: Problem, job_id: str) -> GnomonError | None:
    """Return the error for a problem of an order that defines a job; its message is the server's."""
    error: GnomonError
    if (found := _job_list_error(problem)) is not None:
        return found
    if problem.is_a(problems.INVALID_JOB):
        error = JobKeysError(job_id, [(culprit.name, culprit.detail) for culprit in problem.errors])
    elif problem.is_a(problems.FUNCTION_NOT_ALLOWED):
        error = FunctionNotAllowedError("", ())
    elif problem.is_a(problems.JOB_EXISTS):
        error = JobExistsError(job_id)
    elif problem.is_a(problems.JOB_DEFINED_ELSEWHERE):
        error = ForeignJobError(job_id, "")
    elif problem.is_a(problems.JOB_CHANGED):
        error = JobConflictError(job_id, 0, 0)
    elif problem.is_a(problems.IDEMPOTENCY_KEY_REUSED):
        error = IdempotencyKeyError()
    else:
        return None
    error.args = (problem.detail,)
    return error


def _job_list_error(problem: Problem) -> JobOrdersError | None:
    """Return the error for a list of jobs; its problems have places such as `[3].cron`."""
    found: dict[int, list[tuple[str, str]]] = {}
    for culprit in problem.errors:
        if (match := _LISTED.fullmatch(culprit.name)) is not None:
            found.setdefault(int(match[1]), []).append((match[2], culprit.detail))
    if not found:
        return None
    error = JobOrdersError({number: JobKeysError("", keys) for number, keys in found.items()}, len(found))
    error.args = (problem.detail,)  # the server knows how many jobs there were
    return error


def _unfit(problem: Problem, subject: str) -> JobError:
    place = next((culprit.name for culprit in problem.errors if culprit.name.startswith(("kwargs.", "args["))), None)
    if place is None:
        return JobError(problem.detail)
    error = ArgumentError(subject, place, "", "")
    error.args = (problem.detail,)
    return error


def _unauthenticated(url: str, *, has_token: bool) -> str:
    if has_token:
        return f"the kernel at {url} does not accept this token; its config lists the tokens in [[plugins.web.tokens]]"
    return f"the kernel at {url} requires a token; the command line reads it from $GNOMON_TOKEN"
