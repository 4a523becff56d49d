"""Runs of every kind for random logs, and the plainest count of how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from gnomon import Cancelled, Event, Execution, Failed, Imported, Missed, Scheduled, Started, Succeeded
from gnomon.domain.events import JobEvent, KernelEvent
from gnomon.domain.execution import begin
from gnomon.testing.histories import cancelled, extend, failed, imported, missed, running, scheduled, snoozed

MINUTE = timedelta(minutes=1)


def begun(job: str, at: datetime, delay: float) -> list[Event]:
    return extend(scheduled(job, at), Started, runner="thread", delay=delay)


def history(kind: str, job: str, at: datetime, seconds: float) -> list[Event]:
    made: dict[str, Any] = {
        "success": lambda: extend(begun(job, at, seconds / 3), Succeeded, execution_time=seconds),
        "failed": lambda: failed(job, at),
        "running": lambda: running(job, at),
        "cancelled": lambda: cancelled(job, at),
        "taken back": lambda: extend(scheduled(job, at), Cancelled, actor="ann"),
        "snoozed": lambda: snoozed(job, at),
        "missed": lambda: missed(job, at),
        "range": lambda: missed(job, at, "downtime", count=7, first=at - MINUTE, last=at),
        "imported": lambda: imported(job, at, execution_time=seconds),
        "imported failure": lambda: imported(job, at, status="failed"),
    }
    found: list[Event] = made[kind]()
    return found


KINDS = ["success", "failed", "running", "cancelled", "taken back", "snoozed", "missed", "range"]
KINDS += ["imported", "imported failure"]


class End(NamedTuple):
    job: str
    at: datetime
    status: str
    fires: int
    seconds: float


def ends_of(log: Sequence[Event]) -> list[End]:
    found = []
    for event in log:
        match event:
            case Succeeded():
                found.append(End(event.job_id, event.at, "success", 1, event.execution_time))
            case Failed():
                found.append(End(event.job_id, event.at, "failed", 1, 0))
            case Missed():
                found.append(End(event.job_id, event.at, "missed", event.count, 0))
            case Cancelled(snoozed_until=None):
                found.append(End(event.job_id, event.at, "cancelled", 1, 0))
            case Imported():
                found.append(End(event.job_id, event.ended_at, event.status, 1, event.execution_time or 0.0))
    return found


def runs_of(log: Sequence[Event]) -> list[Execution]:
    """Fold each run, newest first."""
    found: dict[str, Execution] = {}
    for event in log:
        if event.stream in found:
            found[event.stream].apply(event)
        elif isinstance(event, Scheduled | Missed | Imported):
            found[event.stream] = begin(event)
        else:
            assert isinstance(event, JobEvent | KernelEvent)
    return sorted(found.values(), key=lambda run: (run.timestamp, run.id), reverse=True)
