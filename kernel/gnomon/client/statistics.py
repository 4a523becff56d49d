"""The client's calls for statistics."""

from __future__ import annotations

from datetime import datetime, timedelta

from gnomon.client.session import Session, segment
from gnomon.domain.parameter_checks import checked_methods
from gnomon.wire.comparison import Comparison
from gnomon.wire.statistics import Day, JobStatistics, LabelNames, LabelStatistics


@checked_methods
class StatisticsCalls:
    """Statistics of jobs, of labels and of the day, as a server counts them."""

    _session: Session

    async def statistics(self, job_id: str) -> JobStatistics:
        """Return a job's statistics, from the server's plugin stats or else from its store; UnknownJobError."""
        path = f"/scheduler/jobs/{segment(job_id)}/execution-stats"
        return await self._session.request("GET", path, JobStatistics, subject=job_id)

    async def label_statistics(
        self, label: str, *, value: str | None = None, limit: int = 100, offset: int = 0
    ) -> LabelStatistics:
        """Return the statistics of all runs by the value of a label, those with most runs first.

        `limit` is at most 1,000. ApiError for a server without the plugin stats.
        """
        query = {"value": value, "limit": limit, "offset": offset}
        return await self._session.request(
            "GET", f"/scheduler/stats/labels/{segment(label)}", LabelStatistics, query=query
        )

    async def labels(self) -> LabelNames:
        """Return the names of labels that runs have; ApiError for a server without the plugin stats."""
        return await self._session.request("GET", "/scheduler/stats/labels", LabelNames)

    async def compare_periods(
        self,
        *,
        span: timedelta = timedelta(days=7),
        to: datetime | None = None,
        other_to: datetime | None = None,
        job_id: str | None = None,
        jobs: int = 50,
    ) -> Comparison:
        """Compare the period of a length that ends at a time, by default now, with another, by default the one before.

        The jobs that changed most come first. ApiError for a server without the plugin stats.
        """
        query = {"span": f"{span.total_seconds()}s", "to": to, "other_to": other_to, "job_id": job_id, "jobs": jobs}
        return await self._session.request("GET", "/scheduler/compare", Comparison, query=query)

    async def today(self) -> Day:
        """Count the executions of all jobs that ended today; the server's configuration decides when a day begins."""
        return await self._session.request("GET", "/scheduler/stats/today", Day)
