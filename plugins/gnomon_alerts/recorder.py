"""Records what the detector has decided, in the log of the kernel that leads."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from gnomon import AlertOpened, AlertRepeated, AlertResolved, GnomonError, KernelApi
from gnomon.logs import get_logger
from gnomon_alerts.book import Book
from gnomon_alerts.conditions import Finding
from gnomon_alerts.detector import Opening, Pending

log = get_logger("gnomon.alerts")

AT_ONCE = 200
"""Alerts that are recorded at a time: their events share commits."""


async def record(kernel: KernelApi, due: list[tuple[str, Pending]], book: Book) -> int:
    """Record what is due, and return the position of the newest event; what fails is due again."""
    newest = 0
    for start in range(0, len(due), AT_ONCE):
        some = due[start : start + AT_ONCE]
        results = await asyncio.gather(
            *(_record(kernel, alert_id, pending, book) for alert_id, pending in some), return_exceptions=True
        )
        for result in results:
            if isinstance(result, GnomonError):
                log.warning("an alert could not be recorded, and will be later", problem=str(result))
            elif isinstance(result, BaseException):
                raise result
            else:
                newest = max(newest, result)
    return newest


async def _record(kernel: KernelApi, alert_id: str, pending: Pending, book: Book) -> int:
    about: dict[str, Any] = {"alert_id": alert_id, "job_id": pending.job_id}
    opening, repetition, ending = pending.opening, pending.repetition, pending.ending
    newest = 0
    if opening is not None:
        newest = await kernel.record_fact(AlertOpened, **about, **_opened(opening))
    if repetition is not None:
        newest = await kernel.record_fact(AlertRepeated, **about, **_repeated(repetition))
    if ending is not None and (opening is not None or book.find(alert_id) is not None):
        facts = {"why": ending.why, "ended": ending.ended, "execution_id": ending.execution_id}
        newest = await kernel.record_fact(AlertResolved, **about, **facts)
    return newest


def _opened(opening: Opening) -> dict[str, Any]:
    finding = opening.finding
    return {
        "rule": opening.rule,
        "kind": opening.kind,
        "severity": opening.severity,
        "subject": opening.subject,
        "since": _utc(finding.since),
        "message": finding.message,
        "said": finding.said,
        "execution_id": finding.first,
        "last_execution_id": finding.last if finding.last != finding.first else None,
        "count": finding.count,
        "backdated": opening.backdated,
    }


def _repeated(finding: Finding) -> dict[str, Any]:
    return {
        "count": finding.count,
        "last": _utc(finding.last_at),
        "message": finding.message,
        "said": finding.said,
        "execution_id": finding.last,
    }


def _utc(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
