"""The client's calls that define jobs: previewed, added, replaced, changed and removed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from gnomon.client.session import Session, segment
from gnomon.domain.job_preview import JobPreview
from gnomon.domain.parameter_checks import checked_methods
from gnomon.wire.records import AddedJob, JobDetail, RemovedJob


@checked_methods
class DefinitionCalls:
    """The part of Client that defines jobs."""

    _session: Session

    async def preview_job(self, keys: Mapping[str, Any]) -> JobPreview:
        """Return what the keys of a job would do: their problems, or the fires that they gain and lose."""
        return await self._session.request("POST", "/scheduler/jobs/preview", JobPreview, body=dict(keys))

    async def add_job(
        self,
        keys: Mapping[str, Any],
        *,
        owner: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> JobDetail:
        """Add a job by its keys, as the config has them, which is there again after a restart of the kernel.

        JobExistsError, JobKeysError with every problem, FunctionNotAllowedError.
        """
        query = {"owner": owner, "reason": reason}
        return await self._order("POST", None, dict(keys), query, None, idempotency_key)

    async def add_jobs(
        self,
        jobs: Sequence[Mapping[str, Any]],
        *,
        owner: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> list[AddedJob]:
        """Add up to 1,000 jobs by their keys, in one commit or not at all.

        JobOrdersError has the problems of each job, by its number in the list.
        """
        query, headers = {"owner": owner, "reason": reason}, _order_headers(None, idempotency_key)
        request, body = self._session.request, [dict(keys) for keys in jobs]
        return await request(
            "POST", "/scheduler/jobs", list[AddedJob], subject="", query=query, headers=headers, body=body
        )

    async def replace_job(
        self,
        job_id: str,
        keys: Mapping[str, Any],
        *,
        expect_version: int | None = None,
        owner: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> JobDetail:
        """Replace a job that was added at run time as a whole, or add it.

        With `expect_version`, the `version` of the job that the caller has seen, JobConflictError where it has another
        one. ForeignJobError for a job that is defined elsewhere; JobKeysError, FunctionNotAllowedError.
        """
        query = {"owner": owner, "reason": reason}
        return await self._order("PUT", job_id, dict(keys), query, expect_version, idempotency_key)

    async def change_job(
        self,
        job_id: str,
        changes: Mapping[str, Any],
        *,
        expect_version: int | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> JobDetail:
        """Change keys of a job that was added at run time: None removes one, a table is merged (RFC 7396).

        UnknownJobError, and the errors of `replace_job`.
        """
        return await self._order("PATCH", job_id, dict(changes), {"reason": reason}, expect_version, idempotency_key)

    async def remove_job(
        self,
        job_id: str,
        *,
        expect_version: int | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> RemovedJob:
        """Remove a job that was added at run time; its executions stay.

        UnknownJobError, ForeignJobError, JobConflictError.
        """
        headers = _order_headers(expect_version, idempotency_key)
        path, query = f"/scheduler/jobs/{segment(job_id)}", {"reason": reason}
        request = self._session.request
        return await request("DELETE", path, RemovedJob, subject=job_id, query=query, headers=headers)

    async def _order(
        self,
        method: str,
        job_id: str | None,
        body: dict[str, Any],
        query: Mapping[str, Any],
        expect_version: int | None,
        idempotency_key: str | None,
    ) -> JobDetail:
        path = "/scheduler/jobs" if job_id is None else f"/scheduler/jobs/{segment(job_id)}"
        subject = str(body.get("id")) if job_id is None else job_id
        headers = _order_headers(expect_version, idempotency_key)
        request = self._session.request
        return await request(method, path, JobDetail, subject=subject, query=query, body=body, headers=headers)


def _order_headers(expect_version: int | None, idempotency_key: str | None) -> dict[str, str]:
    """Return the headers of an order; each has its own key, so that repeating a request has no second effect."""
    headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
    return headers if expect_version is None else headers | {"If-Match": f'"{expect_version}"'}
