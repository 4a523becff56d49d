"""The fields of a job's answers, made from the kernel's view of the job."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from gnomon.api import JobView
from gnomon.jobs.callables import reference
from gnomon.jobs.job import Job
from gnomon.jobs.overrides import Overrides
from gnomon.logs import get_logger
from gnomon.safe_text import safe_str
from gnomon.scheduling.catch_up import next_fire
from gnomon.wire.operator_answers import BackfillProgress, SkippedTime
from gnomon.wire.records import LastExecution, Policies
from gnomon_web.resources.schedule_text import describe_schedule

log = get_logger("gnomon.web")

NEXT_FIRES = 10
"""Fires that the details of a job list."""


def summary_fields(view: JobView, last: LastExecution | None) -> dict[str, Any]:
    """Return the fields of a JobSummary."""
    job, state = view.job, view.state
    trigger, trigger_config = describe_schedule(job)
    return {
        "id": job.id,
        "name": job.title,
        "display_name": state.display_name or None,
        "description": state.note or job.description,
        "tags": job.tags,
        "status": "paused" if state.paused else "active",
        "paused": state.paused,
        "paused_by": state.paused_by,
        "paused_reason": state.paused_reason,
        "paused_at": state.paused_at,
        "next_run_time": view.next_fire,
        "trigger": trigger,
        "trigger_config": trigger_config,
        "last_execution": last,
        "running": view.running,
        "waiting": view.waiting,
        "lingering": view.lingering,
        "group": job.group,
        "origin": view.origin,
        "source": view.source,
        "owner": state.owner,
        "temporary": state.temporary,
        "version": state.version,
        "problem": view.problem,
        "backfill": _backfill(view),
    }


def _backfill(view: JobView) -> BackfillProgress | None:
    order, counts = view.state.backfill, view.backfill
    if order is None:
        return None
    names = ("since", "until", "overlap", "rerun", "rate", "actor")
    runs, left_out = (counts.runs, counts.left_out) if counts is not None else (0, 0)
    facts = {name: getattr(order, name) for name in names}
    return BackfillProgress(**facts, fires=order.fires or None, runs=runs, left_out=left_out)


def detail_fields(view: JobView, last: LastExecution | None, now: datetime) -> dict[str, Any]:
    """Return the fields of a JobDetail but for its counts."""
    job = view.job
    return summary_fields(view, last) | {
        "func": _function(job),
        "definition": view.state.definition,
        "args": job.args,
        "kwargs": job.kwargs,
        "policies": _policies(job, view.overrides),
        "next_run_times": _next_fires(view),
        "skips": [
            SkippedTime(scheduled_time=skip.at, actor=skip.actor, reason=skip.reason)
            for skip in view.state.skips
            if skip.at > now
        ],
        "schedule": describe_schedule(job)[0],
        "timezone": job.timezone,
    }


def _policies(job: Job, overrides: Overrides) -> Policies:
    return Policies(
        catch_up=job.catch_up,
        grace=_text(job.grace),
        overlap=job.overlap,
        max_instances=job.max_instances,
        queue_limit=job.queue_limit,
        debounce=_text(job.debounce),
        group=job.group,
        priority=job.priority,
        after=job.after,
        labels=job.labels,
        timeout=_text(job.timeout),
        silence=_text(job.silence),
        cancel_grace=str(job.cancel_grace),
        retry=_table(job.retry),
        runner=job.runner,
        limits=None if job.limits is None else _table(job.limits),
        steps=[step if isinstance(step, str) else step.name for step in job.steps],
        options=job.options,
        overrides=overrides,
    )


def _function(job: Job) -> str:
    try:
        return reference(job.func)
    except BaseException as exc:  # noqa: BLE001 - a callable object may raise anything
        return f"a function without a name: {safe_str(exc)}"


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _table(value: msgspec.Struct) -> dict[str, Any]:
    plain = msgspec.structs.asdict(value)
    return {key: entry if isinstance(entry, int | float | None) else str(entry) for key, entry in plain.items()}


def _next_fires(view: JobView) -> list[datetime]:
    """Walk the trigger from the next fire on; a paused job has none."""
    fire = view.next_fire
    fires: list[datetime] = []
    try:
        trigger = view.job.build_trigger()
        while trigger is not None and fire is not None and len(fires) < NEXT_FIRES:
            if view.state.skip_of(fire) is None:
                fires.append(fire)
            fire = next_fire(trigger, fire, view.state.anchor)
    except BaseException as exc:  # noqa: BLE001 - a trigger object may raise anything
        log.warning("trigger failed", job=view.job.id, problem=safe_str(exc))
    return fires
