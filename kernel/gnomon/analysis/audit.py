"""The proof that every fire has exactly one outcome, from the log alone.

The fires that each job should have had are computed again, by the triggers that the kernel uses, from the definitions
that the log has; then they are laid beside the outcomes that the log has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime

import msgspec

from gnomon.analysis import fire_outcomes as ledger
from gnomon.analysis.reconciliation import Finding, FireReconciler, JobAudit, OpenFires, Span, Unproved
from gnomon.analysis.schedule_history import ScheduleHistory, read_past
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.errors import UnknownJobError
from gnomon.ports import Store
from gnomon.text import close_match

__all__ = ["AuditReport", "Finding", "JobAudit", "OpenFires", "Unproved", "audit"]


class AuditReport(msgspec.Struct, frozen=True):
    """The audit of the fires in since <= fire <= until, against the log up to `position`."""

    since: datetime
    until: datetime
    position: int
    jobs: list[JobAudit]

    @property
    def is_proved(self) -> bool:
        """Whether nothing in the log contradicts the promise."""
        return not any(job.findings for job in self.jobs)


async def audit(
    store: Store,
    since: datetime,
    until: datetime,
    job_ids: Collection[str] | None = None,
    *,
    decided_until: datetime | None = None,
) -> AuditReport:
    """Check all fires of the jobs, by default all jobs, in a span of time; the store may be open for reading only.

    Only the kernel itself knows whether it has come to fires after the last one in the log: it says so with
    `decided_until`. Memory does not grow with the log. UnknownJobError for a job that the log has never seen.
    """
    head = await store.head()
    after = await ledger.position_at(store, since, head)
    span = Span(since, until, decided_until, await ledger.newest_marks(store, after, head))
    pasts = await _pasts(store, job_ids, head)
    proofs = {job_id: FireReconciler(job_id, past, span) for job_id, past in pasts.items()}
    await _take_all(_blocks(store, job_ids, since, after, head), proofs, span if job_ids is None else None)
    if doubtful := {job_id: proof for job_id, proof in proofs.items() if proof.is_doubtful}:
        # What came out of order, and up to when the log was pruned, is known only now: look again.
        span.pruned_until = await ledger.pruned_until(store, after, head)
        again = {job_id: FireReconciler(job_id, proof.past, span, proof.strays) for job_id, proof in doubtful.items()}
        await _take_all(_blocks(store, job_ids, since, after, head), again)
        proofs |= again
    return AuditReport(since, until, head, [proofs[job_id].audit for job_id in sorted(proofs)])


async def _pasts(store: Store, job_ids: Collection[str] | None, head: int) -> dict[str, ScheduleHistory]:
    known = {state.job_id: state for state in await store.jobs()}
    for job_id in job_ids or ():
        if job_id not in known:
            raise UnknownJobError(job_id, close_match(job_id, known))
    pasts = {}
    for job_id in known if job_ids is None else job_ids:
        stream = await store.stream(events.job_stream(job_id))
        if stream and stream[0].position <= head:
            pasts[job_id] = read_past((event for event in stream if event.position <= head), known[job_id])
    return pasts


def _blocks(
    store: Store, job_ids: Collection[str] | None, since: datetime, after: int, head: int
) -> AsyncIterator[Sequence[Event]]:
    """Read one job by its times, and many in one go through the log."""
    if job_ids is not None and len(job_ids) == 1:
        return ledger.read_job(store, next(iter(job_ids)), since, head)
    return ledger.read_log(store, after, head)


async def _take_all(
    blocks: AsyncIterator[Sequence[Event]], proofs: dict[str, FireReconciler], span: Span | None = None
) -> None:
    """Give every outcome to the proof of its job; with a span also to jobs of which the log has nothing else."""
    async for block in blocks:
        for event in block:
            if (entry := ledger.entry_of(event)) is None:
                continue
            if entry.job_id not in proofs and span is not None:
                proofs[entry.job_id] = FireReconciler(entry.job_id, None, span)
            if (proof := proofs.get(entry.job_id)) is not None:
                proof.take(entry)
    for proof in proofs.values():
        proof.finish()
