"""Why a job ran, ran late, failed or did not run: explanations from the log, and what is different about two runs."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from gnomon import JobError
from gnomon.domain.run_difference import LoggedAct
from gnomon.moments import relative_moment
from gnomon.scheduling.timezones import expect_within_calendar
from gnomon.wire.audits import AuditRecord
from gnomon.wire.explanations import ExplanationRecord, RunDifferenceRecord
from gnomon.wire.problems import INVALID_PARAMETER
from gnomon_web.app_keys import kernel_of
from gnomon_web.errors import ApiError, culprit
from gnomon_web.http.routes import Route
from gnomon_web.resources.parameters import JobId, Text

DEFAULT_AUDIT: Final = timedelta(hours=24)


class AskedTime(msgspec.Struct, kw_only=True, frozen=True):
    """`at` is a date, which means the whole day, an ISO 8601 time, or one relative to now, such as "-2h".

    A time without an offset is in the job's zone. Without `at` the last fire and the next one are explained.
    """

    at: Text | None = None

    def __post_init__(self) -> None:
        """Refuse what is none of these."""
        self.asked(datetime.now(UTC))

    def asked(self, now: datetime) -> datetime | date | None:
        """Return the time or the day that is asked about; ValueError."""
        if self.at is None:
            return None
        found: datetime | date | None = relative_moment(self.at, now)
        if found is None:
            with suppress(ValueError):
                found = date.fromisoformat(self.at)
        if found is None:
            with suppress(ValueError):
                found = datetime.fromisoformat(self.at.replace(" ", "+"))  # a plus sign that was not escaped
        if found is None:
            expected = "expected a time such as 2026-12-01T18:00+08:00 or -2h, or a date such as 2026-12-01"
            raise ValueError(f"{expected}, got {self.at!r}")
        expect_within_calendar(found)
        return found


class OtherRun(msgspec.Struct, kw_only=True, frozen=True):
    """`to` is the run to compare with, of the same job; by default the last success before the run."""

    to: Text | None = None


class AuditedSpan(msgspec.Struct, kw_only=True, frozen=True):
    """The fires since a time, by default of the last 24 hours, of the jobs `job_id` or of all."""

    since: Annotated[datetime, Meta(tz=True)] | None = None
    job_id: tuple[JobId, ...] = ()


def routes() -> list[Route]:
    """Return the routes of this module."""
    look: dict[str, Any] = {"method": "GET", "role": "viewer", "tag": "explanations", "scoped": True, "errors": (404,)}
    past: dict[str, Any] = look | {"has_past": True}
    admin: dict[str, Any] = {"method": "GET", "role": "admin", "tag": "explanations", "errors": (404, 422)}
    run = "/scheduler/executions/{execution_id}"
    return [
        Route(path="/scheduler/jobs/{job_id}/explain", handler=explain, **look),
        Route(path="/scheduler/jobs/{job_id}/changes", handler=list_changes, **past),
        Route(path="/scheduler/audit", handler=audit, **admin),
        Route(path=f"{run}/explain", handler=explain_run, **past),
        Route(path=f"{run}/difference", handler=compare_run, **past),
    ]


async def explain(request: web.Request, job_id: str, query: AskedTime) -> ExplanationRecord:
    """Explain from the log why a job ran, ran late or did not run at a time, as `gnomon explain` does."""
    kernel = kernel_of(request)
    asked = query.asked(kernel.clock.now())
    moment, day = (asked, None) if isinstance(asked, datetime) else (None, asked)
    return ExplanationRecord.of(await kernel.explain(job_id, moment, day=day))


async def audit(request: web.Request, query: AuditedSpan) -> AuditRecord:
    """Prove from the log that every fire has exactly one outcome, as `gnomon audit` does, for a bounded time."""
    kernel = kernel_of(request)
    since = query.since or kernel.clock.now() - DEFAULT_AUDIT
    return AuditRecord.of(await kernel.audit(since, list(query.job_id) or None))


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
