"""Compare a run with another run of its job: arguments, definition, place, steps, log, and what was done between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from gnomon.analysis.job_changes import act_on_job
from gnomon.analysis.log_difference import compare_logs, kept_lines
from gnomon.domain import events, job_state
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.progress import Step
from gnomon.domain.records import ActionQuery, ExecutionQuery
from gnomon.domain.run_difference import ChangedValue, LoggedAct, RunDifference, StepPair
from gnomon.durations import MICROSECOND
from gnomon.errors import JobError, UnknownExecutionError
from gnomon.jobs.diff import changed_keys
from gnomon.ports import Store
from gnomon.stores.reading import newest_kernel_fact

MOST_BETWEEN: Final = 50
MOST_ACTS: Final = 200
"""Acts on runs that are read."""
LOOKS_BACK: Final = timedelta(days=32)
"""How far before the end of the later run facts of kernels are read: there may be many logins among them."""
_OF_KERNELS = (events.KernelLed, events.KernelStopped, events.KernelHeld, events.KernelReleased)


async def compare_run(store: Store, execution_id: str, to: str | None = None) -> RunDifference:
    """Compare a run with the last success of its job before it, or with the run `to`.

    The store may be open read-only. Raises UnknownExecutionError; JobError where the runs are of two jobs.
    """
    run = await _execution(store, execution_id)
    other = await _execution(store, to) if to is not None else await _last_success(store, run)
    if other is None:
        return RunDifference(run=run, other=None)
    if other.job_id != run.job_id:
        raise JobError(
            f"run {other.id} is of job {other.job_id!r}, and run {run.id} of job {run.job_id!r}: "
            "compare two runs of one job"
        )
    stream = await store.stream(events.job_stream(run.job_id))
    own, others = await store.stream(run.id), await store.stream(other.id)
    between = await _between(store, run.job_id, stream, own, others)
    return RunDifference(
        run=run,
        other=other,
        arguments=_changed(_arguments(run), _arguments(other)),
        labels=_changed(run.labels, other.labels),
        definition=_definition(stream, own, others),
        place=_changed(await _place(store, run, own), await _place(store, other, others)),
        steps=pair_steps(run, other),
        log=compare_logs(await kept_lines(store, run.id), await kept_lines(store, other.id)),
        between=between[-MOST_BETWEEN:],
        between_total=len(between),
    )


async def _execution(store: Store, execution_id: str) -> Execution:
    if (execution := await store.execution(execution_id)) is None:
        raise UnknownExecutionError(execution_id)
    return execution


async def _last_success(store: Store, run: Execution) -> Execution | None:
    query = ExecutionQuery(
        job_id=run.job_id, status=("success",), until=run.timestamp + MICROSECOND, hidden=True, limit=2
    )
    found = (await store.executions(query)).items
    return next((one for one in found if one.id != run.id), None)


# --- values ---


def _arguments(run: Execution) -> dict[str, Any]:
    return {f"[{number}]": value for number, value in enumerate(run.args)} | run.kwargs


def _changed(values: Mapping[str, Any], others: Mapping[str, Any]) -> list[ChangedValue]:
    names = sorted(values.keys() | others.keys())
    pairs = ((name, values.get(name), others.get(name)) for name in names)
    return [ChangedValue(name, value, other) for name, value, other in pairs if value != other]


def _definition(stream: Sequence[Event], own: Sequence[Event], others: Sequence[Event]) -> list[ChangedValue]:
    """Return the keys of the definition that differ between the begins of two runs."""
    new, old = (definition_at(stream, _begin(one).position) for one in (own, others))
    return [ChangedValue(key, value, old.get(key)) for key, value in changed_keys(old, new).items()]


def definition_at(stream: Iterable[Event], position: int) -> dict[str, Any]:
    """Return the definition of a job at a position of the log, from the events of its own stream."""
    until = [event for event in stream if event.position <= position]
    return job_state.fold(until).definition if until else {}


def _begin(stream: Sequence[Event]) -> Event:
    """Return the event at which a run took its definition: that of its start, or its only one."""
    return next((event for event in stream if isinstance(event, events.Started)), stream[0])


def _end(stream: Sequence[Event]) -> Event:
    """Return the event with which a run ended, or its newest one."""
    return next(event for event in reversed(stream) if not isinstance(event, events.Hidden | events.LateResult))


async def _place(store: Store, run: Execution, stream: Sequence[Event]) -> dict[str, Any]:
    """Return where a run ran and with which code, as far as the log knows."""
    begin = _begin(stream)
    led = await newest_kernel_fact(store, begin.at + MICROSECOND, lambda fact: isinstance(fact, events.KernelLed))
    found: dict[str, Any] = {"node": run.node, "runner": run.runner, "queue": run.queue}
    if isinstance(begin, events.Started):
        # The worker of a local run is a process and a thread: another one each time.
        found |= {"code": begin.code, "worker": begin.worker if run.handed_to is not None else None}
    if isinstance(led, events.KernelLed):
        found |= {"deployment": led.deployment, "revision": led.revision, **led.versions}
    return found


# --- steps ---


def pair_steps(run: Execution, other: Execution) -> list[StepPair]:
    """Return the steps of two runs by name, in the order of the run, then those that only the other one has."""
    own, others = ({step.name: step for step in one.progress.steps} for one in (run, other))
    return [
        StepPair(
            name=name,
            **_step_facts("", own.get(name), run),
            **_step_facts("other_", others.get(name), other),
        )
        for name in (*own, *(name for name in others if name not in own))
    ]


def _step_facts(prefix: str, step: Step | None, run: Execution) -> dict[str, Any]:
    began = step.started_at if step is not None else None
    ended = step.ended_at if step is not None else None
    return {
        f"{prefix}status": step.status if step is not None else None,
        f"{prefix}seconds": _seconds(began, ended),
        f"{prefix}start_s": _seconds(run.timestamp, began),
    }


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    return round((until - since).total_seconds(), 6) if since is not None and until is not None else None


# --- what was done between ---


async def _between(
    store: Store, job_id: str, stream: Sequence[Event], own: Sequence[Event], others: Sequence[Event]
) -> list[LoggedAct]:
    """Return what was done after the earlier run had begun and before the later one ended, oldest first."""
    earlier, later = sorted((own, others), key=lambda one: _begin(one).position)
    first, last = _begin(earlier), _end(later)
    until = last.at + MICROSECOND
    found = [act_on_job(event) for event in stream if first.position < event.position <= last.position]
    facts = await store.job_events("", max(first.at, last.at - LOOKS_BACK), until)
    found += [_of_kernel(fact) for fact in facts if isinstance(fact, _OF_KERNELS) and fact.position > first.position]
    acts = (await store.actions(ActionQuery(job_id=job_id, since=first.at, until=until, limit=MOST_ACTS))).items
    found += [
        LoggedAct(at=act.at, what=act.action, actor=act.actor, detail=act.detail, execution_id=act.execution_id)
        for act in acts
        if act.execution_id not in {None, first.stream}
    ]
    return sorted(found, key=lambda fact: fact.at)


def _of_kernel(fact: Event) -> LoggedAct:
    detail = getattr(fact, "reason", None)
    if isinstance(fact, events.KernelLed):
        revision = f", revision {fact.revision}" if fact.revision else ""
        given = f": {detail}" if detail else ""
        detail = f"{fact.why}, deployment {fact.deployment}{revision}{given}"
    actor = getattr(fact, "actor", None)
    return LoggedAct(at=fact.at, what=fact.type, actor=actor, detail=detail or fact.node, position=fact.position)
