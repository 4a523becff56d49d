"""Settles the runs that an earlier kernel left: those that were running, and those that never started."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime

import msgspec

from gnomon.domain import events
from gnomon.domain.execution import Execution, Status
from gnomon.domain.records import ExecutionQuery
from gnomon.engine.admission import Admission
from gnomon.engine.adoption import Adoption
from gnomon.engine.failure_log import log_failure
from gnomon.engine.job_table import JobTable
from gnomon.engine.journal import Journal
from gnomon.engine.late_ends import LateEnds
from gnomon.engine.launcher import Launcher, grace_of
from gnomon.engine.supervisor import Supervisor
from gnomon.jobs.groups import Groups, Rate
from gnomon.logs import get_logger
from gnomon.ports import Clock, Store
from gnomon.tasks import at_once

log = get_logger("gnomon.engine.recovery")


async def recover(
    store: Store,
    clock: Clock,
    journal: Journal,
    admission: Admission,
    supervisor: Supervisor,
    launcher: Launcher,
    jobs: JobTable,
    *,
    log_failures: bool,
) -> None:
    """End or resume every run that has not ended, so that none stays running forever.

    Runs whose bodies are elsewhere are adopted. Others that were running fail with reason `lost`, and are retried where
    their jobs have retries. Runs that were accepted and had not started start now, unless the job is gone or the grace
    has passed. Ends that an earlier kernel could not append are recorded first.
    """
    await LateEnds(store, journal, launcher, jobs).merge()
    adoption = Adoption(store, journal, admission, supervisor, launcher, jobs)
    # Both lists are read before anything is written: recording one changes the other.
    running, accepted = await at_once(_all(store, "running"), _all(store, "scheduled"))
    handed_over = [execution for execution in (*running, *accepted) if execution.handed_to is not None]
    problems = {execution.id: await adoption.adopt(execution) for execution in handed_over}
    lost = [one for one in running if one.handed_to is None]
    lost += [one for one in handed_over if problems[one.id] is not None]
    for execution in lost:
        _declare_lost(execution, journal, problems.get(execution.id))
        registered = jobs.get(execution.job_id)
        if log_failures:
            log_failure(execution, registered.job.retry.attempts if registered is not None else 1)
        if registered is not None:
            launcher.run_again(execution, registered.job)
        journal.forget(execution.id)
    for execution in reversed(accepted):  # oldest first, as they came
        if execution.handed_to is None:
            _resume(execution, journal, launcher, clock, jobs)
    if running or accepted:
        resumed = sum(execution.handed_to is None for execution in accepted)
        counts = {"lost": len(lost), "resumed": resumed, "adopted": list(problems.values()).count(None)}
        log.warning("recovered runs of an earlier kernel", **counts)


async def note_recent_starts(store: Store, admission: Admission, groups: Groups, jobs: JobTable, clock: Clock) -> None:
    """Count the starts under an earlier kernel for the rates of groups: a restart allows no second burst."""
    for name, group in groups.items():
        if (rate := group.starts) is not None:
            members = [registered.job.id for registered in jobs if registered.job.group == name]
            admission.note_starts(name, await recent_starts(store, rate, members, clock.now()))


async def recent_starts(store: Store, rate: Rate, job_ids: Iterable[str], now: datetime) -> list[float]:
    """Return the ages, in seconds, of the starts of these jobs within the period of a rate."""
    ages: list[float] = []
    for job_id in job_ids:
        query = ExecutionQuery(
            job_id=job_id,
            status=("running", "success", "failed", "cancelled"),
            since=now - rate.period,
            hidden=True,
            limit=min(rate.count, 500),
            brief=True,
            counts=False,
        )
        found = [execution async for execution in _pages(store, query, rate.count)]
        ages += [(now - one.timestamp).total_seconds() for one in found if one.runner is not None]
    return [max(age, 0.0) for age in ages]


async def _all(store: Store, status: Status) -> list[Execution]:
    return [execution async for execution in _pages(store, ExecutionQuery(status=(status,), limit=200, counts=False))]


async def _pages(store: Store, query: ExecutionQuery, most: float = float("inf")) -> AsyncIterator[Execution]:
    count = 0
    while True:
        page = await store.executions(query)
        for execution in page.items:
            count += 1
            yield execution
        if page.next is None or count >= most:
            return
        query = msgspec.structs.replace(query, cursor=page.next)


def _declare_lost(execution: Execution, journal: Journal, problem: str | None) -> None:
    journal.adopt(execution)
    why = f"the kernel that ran it ({execution.node}, {execution.worker}) ended before the run did"
    if problem is not None:
        why = f"it was handed over to the runner {execution.handed_to!r}, {problem}"
    journal.record(
        events.Failed,
        execution.id,
        execution.job_id,
        reason="lost",
        error_message=why,
    )


def _resume(execution: Execution, journal: Journal, launcher: Launcher, clock: Clock, jobs: JobTable) -> None:
    registered = jobs.get(execution.job_id)
    if execution.imported_from is not None:
        _miss(execution, journal, f"{execution.imported_from} ended before it started the run")
    elif registered is None:
        _miss(execution, journal, "the job was removed before a kernel could start the run")
    elif (
        execution.is_fire
        and not registered.job.after
        and clock.now() - execution.scheduled_time > grace_of(registered.job)
    ):
        _miss(execution, journal, f"no kernel was running within its grace of {grace_of(registered.job)}")
    else:
        launcher.resume(execution, registered.job)


def _miss(execution: Execution, journal: Journal, detail: str) -> None:
    journal.adopt(execution)
    journal.record(
        events.Missed,
        execution.id,
        execution.job_id,
        scheduled_time=execution.scheduled_time,
        reason="downtime",
        detail=detail,
        job_name=execution.job_name,
        is_manual=execution.is_manual,
        labels=execution.labels,
    )
    journal.forget(execution.id)
