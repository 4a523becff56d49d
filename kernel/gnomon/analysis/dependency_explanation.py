"""Explain from the log which runs of other jobs a run waits for, or waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution, execution_id
from gnomon.jobs.definition import rebuild_job
from gnomon.ports import Store
from gnomon.scheduling.hashed_jitter import fire_of, nominal_time

When = Callable[[datetime | None], str]


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


def waiting_words(upstream: Sequence[Upstream], when: When) -> str | None:
    """Return what a run waits for, in a sentence; None where all upstream runs have succeeded."""
    parts = [words for one in upstream if (words := _open_words(one, when)) is not None]
    return f"It waits for {', and for '.join(parts)}." if parts else None


def _open_words(one: Upstream, when: When) -> str | None:
    run = one.run
    if run is None:
        why = "is paused" if one.paused else "has not decided about that time yet"
        return f"job {one.job_id}, which {why}"
    if run.status == "success":
        return None
    attempt = f" (attempt {run.tries})" if run.tries > 1 else ""
    if run.status == "running":
        return f"run {run.id} of job {one.job_id}{attempt}, which started at {when(run.timestamp)} and is still running"
    if run.status == "scheduled":
        until = f" until {when(run.not_before)}" if run.not_before is not None else ""
        return f"run {run.id} of job {one.job_id}{attempt}, which waits itself{until}"
    return f"run {run.id} of job {one.job_id}{attempt}, which has ended: {run.status}"


def last_success(upstream: Sequence[Upstream]) -> Execution | None:
    """Return the upstream run that succeeded last."""
    runs = [one.run for one in upstream if one.run is not None and one.run.status == "success"]
    return max(runs, key=lambda run: run.updated_at, default=None)
