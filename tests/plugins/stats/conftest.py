"""Statistics counted in the plainest way: the kernel's own fold of each execution, then one loop over their ends."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gnomon import Cancelled, Event, Execution, Failed, Missed, Scheduled, Succeeded
from gnomon.domain.execution import fold
from gnomon.wire.statistics import JobStatistics

ENDS = (Succeeded, Failed, Missed, Cancelled)
STATUSES = ("success", "failed", "missed", "cancelled")


@pytest.fixture(scope="session", name="recount")
def recount_() -> Callable[..., dict[str, dict[str, Any]]]:
    return recount


@pytest.fixture(scope="session", name="facts")
def facts_() -> Callable[[JobStatistics], dict[str, Any]]:
    return facts


def recount(events: Sequence[Event], zone: str = "UTC") -> dict[str, dict[str, Any]]:
    """Count all jobs; what `facts` leaves of a JobStatistics, by job."""
    streams = defaultdict(list)
    for event in events:
        streams[event.stream].append(event)
    told = [history for history in streams.values() if isinstance(history[0], Scheduled | Missed)]
    executions = {history[0].stream: fold(history) for history in told}
    ends, of_job = defaultdict(list), defaultdict(list)
    for event in events:
        if isinstance(event, ENDS) and not executions[event.stream].is_snoozed:
            ends[event.job_id].append((event.at, executions[event.stream]))
    for execution in executions.values():
        of_job[execution.job_id].append(execution)
    return {job_id: _job(found, ends[job_id], ZoneInfo(zone)) for job_id, found in of_job.items()}


def facts(stats: JobStatistics) -> dict[str, Any]:
    """Return what is counted exactly."""
    last, streak = stats.last_execution, stats.streak
    assert streak is not None
    return {
        "counts": {name: getattr(stats, name) for name in (*STATUSES, "running", "scheduled", "total")},
        "average": stats.avg_execution_time,
        "last": last and (last.id, last.status, last.timestamp, _in_micros(last.execution_time)),
        "streak": (streak.status, streak.length, streak.longest_success, streak.longest_failed),
        "days": {one.day: [getattr(one, name) for name in STATUSES] for one in stats.by_day or ()},
        "hours": {one.hour: [getattr(one, name) for name in STATUSES] for one in stats.by_hour or ()},
    }


def _job(executions: list[Execution], ends: list[tuple[datetime, Execution]], zone: ZoneInfo) -> dict[str, Any]:
    counts = Counter(dict.fromkeys((*STATUSES, "running", "scheduled"), 0))
    days: dict[date, list[int]] = {}
    hours: dict[datetime, list[int]] = {}
    for execution in executions:
        counts[execution.status] += 0 if execution.is_snoozed else execution.count
    for at, execution in ends:
        day, hour = at.astimezone(zone).date(), at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        for row in (days.setdefault(day, [0, 0, 0, 0]), hours.setdefault(hour, [0, 0, 0, 0])):
            row[STATUSES.index(execution.status)] += execution.count
    taken = [round((e.execution_time or 0.0) * 1e6) for e in executions if e.status == "success"]
    last = max(executions, key=lambda e: (e.timestamp, e.id))
    return {
        "counts": {**counts, "total": sum(counts.values())},
        "average": sum(taken) / len(taken) / 1e6 if taken else None,
        "last": (last.id, last.status, last.timestamp, _in_micros(last.execution_time)),
        "streak": _streak([e.status for _, e in ends if e.status in {"success", "failed"}]),
        "days": dict(sorted(days.items())[-400:]),
        "hours": dict(sorted(hours.items())[-14 * 24 :]),
    }


def _streak(statuses: list[str]) -> tuple[str | None, int, int, int]:
    rows = [(status, len(list(row))) for status, row in groupby(statuses)]
    longest = {name: max((n for status, n in rows if status == name), default=0) for name in ("success", "failed")}
    return (*(rows[-1] if rows else (None, 0)), longest["success"], longest["failed"])


def _in_micros(seconds: float | None) -> float | None:
    return round(seconds * 1e6) / 1e6 if seconds is not None else None
