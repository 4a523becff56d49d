"""Explain from the log that a run waits, or waited, for the limits of its group."""

from __future__ import annotations

import contextlib
from datetime import datetime

import msgspec

from gnomon.analysis.queue_explanation import slot_holders
from gnomon.analysis.wording import chain
from gnomon.domain.events import KernelStarted
from gnomon.domain.execution import Execution
from gnomon.domain.records import ExecutionQuery
from gnomon.domain.statement import Statement, state
from gnomon.errors import ConfigError
from gnomon.jobs.groups import Group, Rate, convert_groups
from gnomon.ports import Store
from gnomon.stores.reading import newest_kernel_fact

MOST_NAMED = 3


class GroupAtPresent(msgspec.Struct):
    """The group of a job: its limits under the newest kernel, its jobs by their present definitions."""

    name: str
    limits: Group | None
    jobs: frozenset[str]

    @property
    def rate(self) -> Rate | None:
        """The rate; None where there is none."""
        return self.limits.starts if self.limits is not None else None


async def group_of(store: Store, job_id: str, now: datetime) -> GroupAtPresent | None:
    """Return the group of a job, None for a job without one."""
    states = await store.jobs()
    name = next((state.definition.get("group") for state in states if state.job_id == job_id), None)
    if not isinstance(name, str):
        return None
    started = await newest_kernel_fact(store, now, lambda fact: isinstance(fact, KernelStarted))
    limits = None
    if isinstance(started, KernelStarted) and name in started.groups:
        with contextlib.suppress(ConfigError):  # of a newer version
            limits = convert_groups({name: started.groups[name]})[name]
    members = frozenset(state.job_id for state in states if state.definition.get("group") == name)
    return GroupAtPresent(name, limits, members)


async def what_it_waits_for(
    store: Store, group: GroupAtPresent, now: datetime
) -> tuple[Statement | None, list[Execution]]:
    """Return why the group lets no run start, with the runs that take its slots; None where it does."""
    active = [run for run in await slot_holders(store) if run.job_id in group.jobs]
    limit = group.limits.limit if group.limits is not None else None
    if limit is not None and len(active) >= limit:
        named = chain("and_run", [state("run_of_job", run=one.id, job=one.job_id) for one in active[:MOST_NAMED]])
        more = len(active) - MOST_NAMED if len(active) > MOST_NAMED else None
        taken = {"taken": len(active), "limit": limit, "runs": named, "more": more}
        return state("group_slot", group=group.name, **taken), active
    if (rate := group.rate) is not None and await _starts(store, group, now - rate.period) >= rate.count:
        return state("group_rate", group=group.name, rate=str(rate)), []
    return None, []


async def _starts(store: Store, group: GroupAtPresent, since: datetime) -> int:
    found = 0
    for job_id in group.jobs:
        for status in ("running", "success", "failed", "cancelled"):
            page = await store.executions(ExecutionQuery(job_id=job_id, status=(status,), since=since, limit=1))
            found += page.total
    return found
