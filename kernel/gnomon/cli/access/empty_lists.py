"""Why a list is empty: nothing matches its filters, or there is no job with that id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnomon.domain.records import ActionQuery, ExecutionQuery
from gnomon.errors import ConfigError, UnknownJobError
from gnomon.text import close_match

if TYPE_CHECKING:
    from gnomon.cli.access.reached_kernel import ReachedKernel


async def why_empty(kernel: ReachedKernel, item: str, job_id: str | None) -> str:
    """Return why a list of runs or actions is empty; `item` is the word for one of them."""
    if job_id is None:
        return f"no {item} matches"
    try:
        known = [listing.id for listing in await kernel.jobs()]
    except ConfigError:  # the log can be read even if the config is not valid
        known = [job_id]
    if job_id in known:
        return f"no {item} of the job {job_id!r} matches"
    return f"there is no job {job_id!r}{_hint(job_id, known)}"


async def expect_known(kernel: ReachedKernel, job_id: str) -> None:
    """Raise UnknownJobError for a job that neither the deployment nor the log has."""
    try:
        known = [listing.id for listing in await kernel.jobs()]
    except ConfigError:
        return
    if job_id not in known and not await _is_in_log(kernel, job_id):
        raise UnknownJobError(job_id, _hint(job_id, known))


async def _is_in_log(kernel: ReachedKernel, job_id: str) -> bool:
    runs = await kernel.executions(ExecutionQuery(job_id=job_id, limit=1))
    return bool(runs.items or (await kernel.actions(ActionQuery(job_id=job_id, limit=1))).items)


def _hint(job_id: str, known: list[str]) -> str:
    jobs = f"; the jobs are {', '.join(known)}" if known else "; the deployment has no jobs"
    return close_match(job_id, known) or jobs
