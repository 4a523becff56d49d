"""What may go wrong on the way to a kernel elsewhere; what the kernel itself says are the kernel's own errors."""

from __future__ import annotations

import re

import msgspec

from gnomon.errors import (
    ExecutionOverError,
    ExecutionRunningError,
    GnomonError,
    JobError,
    UnknownExecutionError,
    UnknownJobError,
)


class ClientError(GnomonError):
    """The server did not do what it was asked; `status` is that of its answer, None where there was none."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NoServerError(ClientError):
    """No kernel answers at this address."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(
            f"no kernel answers at {url} ({problem}); is it running, with the plugin web, and is the address right?"
        )
        self.url = url


class NotAllowedError(ClientError):
    """The server does not know who asks, or does not let them do this."""


class LogReplacedError(ClientError):
    """The log that was followed is gone: another one is in its place, or the part that was not read yet was pruned."""


class Culprit(msgspec.Struct, frozen=True):
    """The part of a request that a problem blames."""

    name: str = ""


class Problem(msgspec.Struct, frozen=True):
    """What RFC 9457 has to say of an error, as far as it is of use here."""

    status: int
    title: str = ""
    detail: str = ""
    errors: list[Culprit] = []

    def blames(self, name: str) -> bool:
        """Whether that part of the request is wrong."""
        return any(culprit.name == name for culprit in self.errors)


def error_of(problem: Problem, *, url: str, has_token: bool, asked: str | None = None) -> GnomonError:
    """Make the error that the kernel would have raised here; `asked` is the job or the execution in question."""
    detail, status = problem.detail or problem.title, problem.status
    if asked is not None and (said := _said_by_kernel(status, detail, problem, asked)) is not None:
        return said
    if status == 401:
        return NotAllowedError(_who(url, has_token=has_token), status)
    if status == 403:
        return NotAllowedError(f"the kernel at {url} refuses: {detail}", status)
    return ClientError(f"the kernel at {url} answered {status}: {detail}", status)


def _said_by_kernel(status: int, detail: str, problem: Problem, asked: str) -> GnomonError | None:
    if status == 404 and problem.blames("job_id"):
        return UnknownJobError(asked, detail.removeprefix(f"there is no job {asked!r}"))
    if status == 404 and problem.blames("execution_id"):
        return UnknownExecutionError(asked)
    if status == 409 and (found := re.search(r" is (not )?over \((\w+)\)", detail)):
        return (ExecutionRunningError if found[1] else ExecutionOverError)(asked, found[2])
    return JobError(detail) if status == 422 else None


def _who(url: str, *, has_token: bool) -> str:
    if has_token:
        return f"the kernel at {url} does not know this token; its tokens are in [[plugins.web.tokens]] of its config"
    return f"the kernel at {url} wants to know who asks: give a token, to the command line in $GNOMON_TOKEN"
