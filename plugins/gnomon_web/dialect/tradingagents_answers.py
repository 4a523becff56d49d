"""Answers of the clean API in the shapes of TradingAgents-CN: four statuses, numbers for null, no empty fields."""

from __future__ import annotations

import functools
from typing import Any, Final

import msgspec

from gnomon.domain.execution import Status
from gnomon.durations import Duration
from gnomon.wire.records import (
    HistoryEntry,
    JobDetail,
    JobSummary,
    LastExecution,
    Policies,
    Record,
)
from gnomon.wire.statistics import Counts, Day, Hour, JobStatistics, LastCounted
from gnomon_web.dialect.tradingagents_login import User
from gnomon_web.http.responses import encode_json
from gnomon_web.resources.health import HealthReport

Json = dict[str, Any]
STATUSES: Final[dict[str, tuple[Status, ...]]] = {
    "running": ("running", "scheduled"),
    "success": ("success",),
    "failed": ("failed", "cancelled"),
    "missed": ("missed",),
}
"""The four statuses of the old application, and which of ours each stands for."""
_STATUS_OF: Final[dict[str, str]] = {ours: theirs for theirs, some in STATUSES.items() for ours in some}
_HEALTH: Final = {"ok": "healthy", "failed": "stopped"}


@functools.singledispatch
def translate(body: Any) -> Any:
    """Return an answer in the shape of the old application: at no depth does a field without a value remain.

    JSON of jobs, such as arguments, is left as it is.
    """
    if isinstance(body, msgspec.Struct):
        return _fields(body)
    if isinstance(body, list | tuple):
        return [translate(entry) for entry in body]
    return body


@translate.register
def _(body: Record) -> Json:
    fields = _fields(body)
    fields["status"] = _STATUS_OF[body.status]
    fields["progress"] = body.progress or 0
    if body.return_value is not None:
        fields["return_value"] = _text(body.return_value)
    return fields


@translate.register
def _(body: JobSummary) -> Json:
    return _fields(body, "name", "trigger", "next_run_time")  # their types say `string` and `string | null`


@translate.register
def _(body: JobDetail) -> Json:
    fields: Json = translate.dispatch(JobSummary)(body)
    return fields | _of_apscheduler(body.policies)


@translate.register
def _(body: Policies) -> Json:
    fields = _fields(body)
    return fields | {name: _present(fields[name]) for name in ("retry", "limits") if name in fields}


def _of_apscheduler(policies: Policies) -> Json:
    """Return the seconds by which a run may be late, and how many may run at once; neither where there is no limit."""
    limits: Json = {}
    grace = policies.grace or ("60s" if policies.catch_up == "none" else None)
    if grace is not None:
        limits["misfire_grace_time"] = max(round(Duration.parse(grace).total_seconds()), 1)
    if policies.max_instances is not None or policies.overlap != "allow":
        limits["max_instances"] = policies.max_instances or 1
    return limits


@translate.register
def _(body: LastExecution) -> Json:
    return _fields(body) | {"status": _STATUS_OF[body.status]}


@translate.register
def _(body: LastCounted) -> Json:
    fields = _fields(body)
    return {"_id": fields.pop("id"), **fields, "status": _STATUS_OF[body.status]}


@translate.register
def _(body: Counts) -> Json:
    """Count by the four statuses, which add up to the total."""
    fields = _fields(body)
    for theirs, some in STATUSES.items():
        fields[theirs] = sum(fields.pop(ours) for ours in some)
    return fields


@translate.register
def _(body: JobStatistics) -> Json:
    fields: Json = translate.dispatch(Counts)(body)
    if ended := fields["success"] + fields["failed"]:
        fields["success_rate"] = fields["success"] / ended
    fields["avg_execution_time"] = round(body.avg_execution_time or 0, 2)
    if body.cancelled:
        fields.pop("streak", None)  # cancelled runs end none, and when they ended is not known
    return fields


@translate.register(Day)
@translate.register(Hour)
def _(body: Day | Hour) -> Json:
    fields = _fields(body)
    fields["failed"] += fields.pop("cancelled")
    return fields | {"avg_execution_time": body.avg_execution_time or 0}


@translate.register
def _(body: HistoryEntry) -> Json:
    return _fields(body, "job_id")  # empty where an unknown execution was asked for


@translate.register
def _(body: HealthReport) -> Json:
    return _fields(body) | {"status": _HEALTH.get(body.status, body.status)}


@translate.register
def _(body: User) -> Json:
    return _fields(body, "email")


def _fields(body: msgspec.Struct, *kept: str) -> Json:
    """Return the fields that have a value, and those that are `kept` without one; Structs in them are translated."""
    fields = _plain(body)
    for name, encoded in zip(body.__struct_fields__, body.__struct_encode_fields__, strict=True):
        value = getattr(body, name)
        if encoded in fields and _has_structs(value):
            fields[encoded] = translate(value)
    return _present(fields) | {name: fields[name] for name in kept}


def _has_structs(value: Any) -> bool:
    entries = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(entry, msgspec.Struct) for entry in entries)


def _plain(value: msgspec.Struct) -> Json:
    # Through JSON, because answers contain JSON that is passed on as it is, which to_builtins refuses.
    plain: Json = msgspec.json.decode(encode_json(value))
    return plain


def _present(fields: Json) -> Json:
    """Leave out fields that have no value: their types say `number | undefined`, and null breaks their arithmetic."""
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else encode_json(value).decode()
