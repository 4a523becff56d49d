"""Answers of the clean API in the shapes of TradingAgents-CN: four statuses, numbers for null, no empty fields."""

from __future__ import annotations

import functools
from typing import Any, Final

import msgspec

from gnomon.domain.execution import Status
from gnomon.durations import Duration
from gnomon.wire.records import (
    HistoryEntry,
    HistoryPage,
    JobDetail,
    JobSummary,
    LastExecution,
    Policies,
    Record,
    RecordPage,
)
from gnomon.wire.statistics import Counts, JobStatistics, LastCounted
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
    """Return an answer in the shape of the old application; answers that it does not have are left as they are."""
    if isinstance(body, list):
        return [translate(entry) for entry in body]
    return body


@translate.register
def _(body: RecordPage) -> Json:
    return _plain(body) | {"items": [translate(record) for record in body.items]}


@translate.register
def _(body: Record) -> Json:
    fields = _present(_plain(body))
    fields["status"] = _STATUS_OF[body.status]
    fields["progress"] = body.progress or 0
    if body.return_value is not None:
        fields["return_value"] = _text(body.return_value)
    return fields


@translate.register
def _(body: JobSummary) -> Json:
    plain = _plain(body)
    # Their types say `string` and `string | null`.
    fields = _present(plain) | {name: plain[name] for name in ("name", "trigger", "next_run_time")}
    if body.last_execution is not None:
        fields["last_execution"] = translate(body.last_execution)
    return fields


@translate.register
def _(body: JobDetail) -> Json:
    fields: Json = translate.dispatch(JobSummary)(body)
    fields["policies"] = _present(fields["policies"])
    if body.statistics is not None:
        fields["statistics"] = _counts(body.statistics)
    return fields | _of_apscheduler(body.policies)


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
    return _present(_plain(body)) | {"status": _STATUS_OF[body.status]}


@translate.register
def _(body: LastCounted) -> Json:
    fields = _present(_plain(body))
    return {"_id": fields.pop("id"), **fields, "status": _STATUS_OF[body.status]}


@translate.register
def _(body: JobStatistics) -> Json:
    fields = _present(_plain(body)) | _counts(body)
    fields["avg_execution_time"] = round(body.avg_execution_time or 0, 2)
    if body.last_execution is not None:
        fields["last_execution"] = translate(body.last_execution)
    return fields


@translate.register
def _(body: HistoryPage) -> Json:
    return _plain(body) | {"history": [translate(entry) for entry in body.history]}


@translate.register
def _(body: HistoryEntry) -> Json:
    return _present(_plain(body)) | {"job_id": body.job_id}  # empty where an unknown execution was asked for


@translate.register
def _(body: HealthReport) -> Json:
    fields = _plain(body)
    fields["status"] = _HEALTH.get(body.status, body.status)
    fields["components"] = [_present(one) for one in fields["components"]]
    return fields


def _counts(counts: Counts) -> Json:
    """Count by the four statuses."""
    return {"total": counts.total} | {
        theirs: sum(getattr(counts, ours) for ours in some) for theirs, some in STATUSES.items()
    }


def _plain(value: msgspec.Struct) -> Json:
    # Through JSON, because answers contain JSON that is passed on as it is, which to_builtins refuses.
    plain: Json = msgspec.json.decode(encode_json(value))
    return plain


def _present(fields: Json) -> Json:
    """Leave out fields that have no value: their types say `number | undefined`, and null breaks their arithmetic."""
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else encode_json(value).decode()
