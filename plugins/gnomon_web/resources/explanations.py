"""Why a job ran, ran late, failed or did not run: explanations from the log, and what is different about two runs."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import msgspec
from aiohttp import web

from gnomon import JobError
from gnomon.domain.run_difference import LoggedAct
from gnomon.wire.explanations import ExplanationRecord, RunDifferenceRecord
from gnomon.wire.problems import INVALID_PARAMETER
from gnomon_web.app_keys import kernel_of
from gnomon_web.errors import ApiError, culprit
from gnomon_web.http.routes import Route
from gnomon_web.resources.parameters import Text


class AskedTime(msgspec.Struct, kw_only=True, frozen=True):
    """`at` is a date, which means the whole day, or an ISO 8601 time; one without an offset is in the job's zone.

    Without it the last fire and the next one are explained.
    """

    at: Text | None = None

    def __post_init__(self) -> None:
        """Refuse what is neither."""
        _ = self.day, self.moment

    @property
    def day(self) -> date | None:
        """The day that is asked about."""
        try:
            return date.fromisoformat(self.at) if self.at is not None else None
        except ValueError:
            return None

    @property
    def moment(self) -> datetime | None:
        """The time that is asked about; ValueError."""
        if self.at is None or self.day is not None:
            return None
        try:
            return datetime.fromisoformat(self.at.replace(" ", "+"))  # a plus sign that was not escaped
        except ValueError:
            expected = "expected a time such as 2026-12-01T18:00+08:00, or a date such as 2026-12-01"
            raise ValueError(f"{expected}, got {self.at!r}") from None


class OtherRun(msgspec.Struct, kw_only=True, frozen=True):
    """`to` is the run to compare with, of the same job; by default the last success before the run."""

    to: Text | None = None


def routes() -> list[Route]:
    """Return the routes of this module."""
    look: dict[str, Any] = {"method": "GET", "role": "viewer", "tag": "explanations", "scoped": True, "errors": (404,)}
    past: dict[str, Any] = look | {"has_past": True}
    run = "/scheduler/executions/{execution_id}"
    return [
        Route(path="/scheduler/jobs/{job_id}/explain", handler=explain, **look),
        Route(path="/scheduler/jobs/{job_id}/changes", handler=list_changes, **past),
        Route(path=f"{run}/explain", handler=explain_run, **past),
        Route(path=f"{run}/difference", handler=compare_run, **past),
    ]


async def explain(request: web.Request, job_id: str, query: AskedTime) -> ExplanationRecord:
    """Explain from the log why a job ran, ran late or did not run at a time, as `gnomon explain` does."""
    return ExplanationRecord.of(await kernel_of(request).explain(job_id, query.moment, day=query.day))


async def list_changes(request: web.Request, job_id: str) -> list[LoggedAct]:
    """List when the definition of a job came, changed and went, and who did it."""
    return await kernel_of(request).job_changes(job_id)


async def explain_run(request: web.Request, execution_id: str) -> ExplanationRecord:
    """Explain one run with all its attempts, such as why it still waits in a queue."""
    return ExplanationRecord.of(await kernel_of(request).explain_run(execution_id))


async def compare_run(request: web.Request, execution_id: str, query: OtherRun) -> RunDifferenceRecord:
    """Compare a run with the last success of its job before it, or with another run of the job."""
    try:
        return RunDifferenceRecord.of(await kernel_of(request).compare_run(execution_id, query.to))
    except JobError as exc:  # the runs are of two jobs
        raise ApiError(INVALID_PARAMETER, str(exc), errors=[culprit("query", "to", str(exc))]) from exc
