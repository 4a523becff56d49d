"""Explain from the log which runs of other jobs a run waits for, or waited for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from gnomon.analysis.wording import chain
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution, execution_id
from gnomon.domain.statement import Statement, state
from gnomon.jobs.definition import rebuild_job
from gnomon.ports import Store
from gnomon.scheduling.hashed_jitter import fire_of, nominal_time


class Upstream(msgspec.Struct):
    """An upstream job and the newest attempt of its run at a nominal time; None where the log has none."""

    job_id: str
    run: Execution | None
    paused: bool = False


async def upstream_runs(store: Store, of: str, after: Sequence[str], at: datetime) -> list[Upstream]:
    """Return the runs that a fire of a job waits for, in the order of `after`."""
    states = {state.job_id: state for state in await store.jobs()}
    nominal = at
    if (own := states.get(of)) is not None and "jitter" in own.definition:
        nominal = nominal_time(rebuild_job(own.definition).trigger, at, own.anchor)
    found = []
    for job_id in after:
        state, fire = states.get(job_id), nominal
        if state is not None and "jitter" in state.definition:
            fire = fire_of(rebuild_job(state.definition).trigger, nominal, state.anchor) or nominal
        run, attempt = None, 1
        while (one := await store.execution(execution_id(job_id, fire, attempt))) is not None:
            run, attempt = one, attempt + 1
        found.append(Upstream(job_id, run, state is not None and state.paused))
    return found


async def recorded_last(store: Store, upstream: Sequence[Upstream]) -> tuple[Execution, Event] | None:
    """Return the upstream run that the log has had last, with the event that recorded its fire."""
    runs = [one.run for one in upstream if one.run is not None]
    streams = [await store.stream(execution_id(run.job_id, run.scheduled_time)) for run in runs]
    found = [(run, stream[0]) for run, stream in zip(runs, streams, strict=True) if stream]
    return max(found, key=lambda one: one[1].position, default=None)


def waiting_words(upstream: Sequence[Upstream]) -> Statement | None:
    """Return what a run waits for; None where all upstream runs have succeeded."""
    parts = [found for one in upstream if (found := _open(one)) is not None]
    return state("waits_for", what=chain("and_for", parts)) if parts else None


def _open(one: Upstream) -> Statement | None:
    run = one.run
    if run is None:
        return state("dep_paused" if one.paused else "dep_undecided", job=one.job_id)
    if run.status == "success":
        return None
    about = {"run": run.id, "job": one.job_id, "attempt": run.tries if run.tries > 1 else None}
    if run.status == "running":
        return state("dep_running", **about, started_at=run.timestamp)
    if run.status == "scheduled":
        return state("dep_waits", **about, until_at=run.not_before)
    return state("dep_ended", **about, fate=run.status)


def last_success(upstream: Sequence[Upstream]) -> Execution | None:
    """Return the upstream run that succeeded last."""
    runs = [one.run for one in upstream if one.run is not None and one.run.status == "success"]
    return max(runs, key=lambda run: run.updated_at, default=None)
