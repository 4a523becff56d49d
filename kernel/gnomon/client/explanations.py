"""The client's calls for explanations from the log, and for differences between runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from gnomon.client.session import Session, segment
from gnomon.domain.audits import AuditReport
from gnomon.domain.parameter_checks import checked_methods
from gnomon.domain.run_difference import LoggedAct, RunDifference
from gnomon.explanations import Explanation
from gnomon.wire.audits import AuditRecord
from gnomon.wire.explanations import ExplanationRecord, RunDifferenceRecord


@checked_methods
class ExplanationCalls:
    """Why a job ran, ran late, failed or did not run."""

    _session: Session

    async def explain(self, job_id: str, at: datetime | None = None, *, day: date | None = None) -> Explanation:
        """Explain from the log why a job ran, ran late or did not run at a time, or on a day; UnknownJobError.

        A time without an offset is in the job's zone. Without both it is about the last fire and the next one.
        """
        asked = at or day
        query = {"at": asked.isoformat() if asked is not None else None}
        path = f"/scheduler/jobs/{segment(job_id)}/explain"
        return (await self._session.request("GET", path, ExplanationRecord, subject=job_id, query=query)).explanation()

    async def explain_run(self, execution_id: str) -> Explanation:
        """Explain one run with all its attempts; UnknownExecutionError."""
        path = f"/scheduler/executions/{segment(execution_id)}/explain"
        return (await self._session.request("GET", path, ExplanationRecord, subject=execution_id)).explanation()

    async def audit(self, since: datetime | None = None, job_ids: Sequence[str] = ()) -> AuditReport:
        """Prove from the log that every fire has exactly one outcome, by default of the last 24 hours; for admins.

        ClientError for a job that was never in the log, and where the log has too many events since then.
        """
        query = {"since": since, "job_id": ",".join(job_ids) or None}
        return (await self._session.request("GET", "/scheduler/audit", AuditRecord, query=query)).report()

    async def job_changes(self, job_id: str) -> list[LoggedAct]:
        """Return when the definition of a job came, changed and went, oldest first; UnknownJobError."""
        path = f"/scheduler/jobs/{segment(job_id)}/changes"
        return await self._session.request("GET", path, list[LoggedAct], subject=job_id)

    async def compare_run(self, execution_id: str, to: str | None = None) -> RunDifference:
        """Compare a run with the last success of its job before it, or with the run `to`; UnknownExecutionError."""
        path = f"/scheduler/executions/{segment(execution_id)}/difference"
        found = await self._session.request("GET", path, RunDifferenceRecord, subject=execution_id, query={"to": to})
        return found.difference()
