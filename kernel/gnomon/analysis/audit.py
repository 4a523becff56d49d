"""Prove from the log alone that every fire has exactly one outcome.

The fires that each job should have had are computed again with the kernel's triggers from the definitions in the log,
and compared with the outcomes in the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime

import msgspec

from gnomon.analysis import fire_outcomes
from gnomon.analysis.followed_times import followers, judge_followers, upstream_of
from gnomon.analysis.holds import present_hold
from gnomon.analysis.reconciliation import FireReconciler, Span
from gnomon.analysis.schedule_history import ScheduleHistory, read_history
from gnomon.domain import events
from gnomon.domain.audits import AuditReport, Finding, JobAudit, OpenFires, Unproved
from gnomon.domain.events import Event
from gnomon.errors import JobError, UnknownJobError
from gnomon.ports import Store
from gnomon.stores.reading import read_log
from gnomon.stores.schedule_versions import ScheduleVersions, present_versions, read_schedule_versions
from gnomon.text import close_match

__all__ = ["AuditReport", "Finding", "JobAudit", "OpenFires", "Unproved", "audit"]


async def audit(
    store: Store,
    since: datetime,
    until: datetime,
    job_ids: Collection[str] | None = None,
    *,
    decided_until: datetime | None = None,
    most_events: int | None = None,
) -> AuditReport:
    """Check all fires in a span of time, of these jobs or of all; the store may be open read-only.

    `decided_until` is the time up to which the kernel has decided all fires, which only the kernel itself knows. Memory
    does not grow with the log. Raises UnknownJobError for a job that was never in the log, and JobError where more than
    `most_events` events would have to be read.
    """
    head = await store.head()
    after = await fire_outcomes.position_at(store, since, head)
    if most_events is not None and head - after > most_events:
        raise JobError(
            f"the log has {head - after:,} events since {since.isoformat(' ', 'seconds')}, and at most "
            f"{most_events:,} are audited beside a running kernel: ask about a shorter time, or use `gnomon audit`"
        )
    watermarks = await fire_outcomes.newest_watermarks(store, after, head)
    span = Span(since, until, decided_until, watermarks, hold=await present_hold(store, until))
    histories = await _histories(store, job_ids, head)
    reconcilers = {job_id: FireReconciler(job_id, history, span) for job_id, history in histories.items()}
    await _reconcile(_blocks(store, job_ids, since, after, head), reconcilers, span if job_ids is None else None)
    if doubtful := {job_id: one for job_id, one in reconcilers.items() if one.is_doubtful}:
        # Outcomes out of order, and the time up to which the log was pruned, are known only now: read it again.
        span.pruned_until = await fire_outcomes.pruned_until(store, after, head)
        again = {job_id: FireReconciler(job_id, one.history, span, one.strays) for job_id, one in doubtful.items()}
        await _reconcile(_blocks(store, job_ids, since, after, head), again)
        reconcilers |= again
    followed = await _judge_followers(store, histories, span, after, head)
    changes = _other_versions(await read_schedule_versions(store, since))
    audits = (_with(reconcilers[job_id].audit, followed.get(job_id)) for job_id in sorted(reconcilers))
    lost = store.loss.rollback if store.loss is not None else None
    return AuditReport(since, until, head, [_judged(one, changes) for one in audits], lost)


async def _judge_followers(
    store: Store, histories: dict[str, ScheduleHistory], span: Span, after: int, head: int
) -> dict[str, JobAudit]:
    if not (wanted := followers(histories)):
        return {}
    known = dict(histories)
    while missing := upstream_of(known) - known.keys():
        present = [state.job_id for state in await store.jobs(missing)]
        if not (found := await _histories(store, present, head) if present else {}):
            break
        known |= found
    return await judge_followers(store, known, wanted, span, after, head)


def _with(audit: JobAudit, followed: JobAudit | None) -> JobAudit:
    """Add the result for the times at which a job had no schedule and ran after others."""
    if followed is None:
        return audit
    return JobAudit(
        job_id=audit.job_id,
        fires=audit.fires + followed.fires,
        missed=audit.missed + followed.missed,
        findings=[*audit.findings, *followed.findings],
        more_findings=audit.more_findings + followed.more_findings,
        open=[*audit.open, *followed.open],
        unproved=[*audit.unproved, *followed.unproved],
    )


def _other_versions(known: Sequence[ScheduleVersions]) -> list[Unproved]:
    """Return the periods in which fires were computed with other versions than those of this process."""
    present, periods = present_versions(), []
    for i, one in enumerate(known):
        names = [name for name in present if one.versions.get(name) != present[name]]
        if names:
            until = known[i + 1].at if i + 1 < len(known) else None
            others = ", ".join(f"{name} {one.versions.get(name)} in place of {present[name]}" for name in names)
            periods.append(Unproved(one.at, until, 0, f"its fires were computed with {others}"))
    return periods


def _judged(audit: JobAudit, periods: Sequence[Unproved]) -> JobAudit:
    """Move findings that other versions of zone data, cronsim or APScheduler may explain to the unproved fires."""
    if not periods or not audit.findings:
        return audit
    findings, unproved = [], list(audit.unproved)
    for finding in audit.findings:
        period = next((one for one in periods if one.covers(finding.first) or one.covers(finding.last)), None)
        if period is None or finding.problem == "two_outcomes":
            findings.append(finding)
        else:
            unproved.append(Unproved(finding.first, finding.last, len(finding.executions), period.reason))
    return msgspec.structs.replace(audit, findings=findings, unproved=unproved)


async def _histories(store: Store, job_ids: Collection[str] | None, head: int) -> dict[str, ScheduleHistory]:
    known = {state.job_id: state for state in await store.jobs()}
    for job_id in job_ids or ():
        if job_id not in known:
            raise UnknownJobError(job_id, close_match(job_id, known))
    histories = {}
    for job_id in known if job_ids is None else job_ids:
        stream = await store.stream(events.job_stream(job_id))
        if stream and stream[0].position <= head:
            histories[job_id] = read_history((event for event in stream if event.position <= head), known[job_id])
    return histories


def _blocks(
    store: Store, job_ids: Collection[str] | None, since: datetime, after: int, head: int
) -> AsyncIterator[Sequence[Event]]:
    """Read the events of one job by their times, those of several jobs in one pass over the log."""
    if job_ids is not None and len(job_ids) == 1:
        return fire_outcomes.read_job(store, next(iter(job_ids)), since, head)
    return read_log(store, after, head)


async def _reconcile(
    blocks: AsyncIterator[Sequence[Event]], reconcilers: dict[str, FireReconciler], span: Span | None = None
) -> None:
    """Pass every outcome to the reconciler of its job; with a span also for jobs that the log never added."""
    async for block in blocks:
        for event in block:
            if (outcome := fire_outcomes.read_outcome(event)) is None:
                if isinstance(event, events.Missed) and (reconciler := reconcilers.get(event.job_id)) is not None:
                    reconciler.note_unstarted(event)
                continue
            if outcome.job_id not in reconcilers and span is not None:
                reconcilers[outcome.job_id] = FireReconciler(outcome.job_id, None, span)
            if (reconciler := reconcilers.get(outcome.job_id)) is not None:
                reconciler.take(outcome)
    for reconciler in reconcilers.values():
        reconciler.finish()
