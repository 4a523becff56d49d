"""Records for readers of the progress tracker of TradingAgents-CN: its fields beside ours.

Both have a `status`: it has the old words, and `execution_status` has ours. Our own clients read either record.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from gnomon.domain.execution import Status
from gnomon.domain.progress import Step
from gnomon_redis.progress_record import EXECUTION_STATUS, ProgressRecord

_STATUS_OF: Final[dict[Status, str]] = {
    "scheduled": "pending",
    "running": "running",
    "success": "completed",
    "failed": "failed",
    "missed": "failed",
    "cancelled": "failed",
}
_OF_ANALYSES: Final = {"analysts": [], "research_depth": "", "llm_provider": ""}
"""What only an analysis of stocks has, and which readers take for granted."""


def encode_for_tradingagents(record: ProgressRecord) -> bytes:
    """Write a record with the fields of both."""
    ours: dict[str, Any] = msgspec.to_builtins(record)
    current = _current_step(record.steps)
    theirs = {
        "task_id": record.execution_id,
        "status": _STATUS_OF[record.status],
        EXECUTION_STATUS: record.status,
        "progress_percentage": record.percent or 0.0,
        "current_step": current,
        "total_steps": len(record.steps),
        "current_step_name": record.steps[current].name if record.steps else record.step or "",
        "current_step_description": record.message or "",
        "last_message": record.message or "",
        "start_time": _seconds(record.started_at or record.scheduled_time),
        "last_update": _seconds(record.at),
        "elapsed_time": record.elapsed,
        "remaining_time": record.remaining or 0.0,
        "estimated_total_time": record.estimated_total or 0.0,
        "steps": [plain | _step(step) for plain, step in zip(ours["steps"], record.steps, strict=True)],
    }
    return msgspec.json.encode(ours | _OF_ANALYSES | theirs | _end(record))


def _end(record: ProgressRecord) -> dict[str, Any]:
    """Return the fields that the old tracker adds at the end."""
    if record.ended_at is None:
        return {}
    ended = {"completed_time": _seconds(record.ended_at)}
    if record.status == "success":
        return ended | {"completed": True}
    return ended | {"failed": True, "failed_reason": record.error_message or record.reason or record.status}


def _step(step: Step) -> dict[str, Any]:
    return {
        "description": "",
        "status": step.status,
        "weight": step.weight,
        "start_time": _seconds(step.started_at),
        "end_time": _seconds(step.ended_at),
    }


def _current_step(steps: tuple[Step, ...]) -> int:
    """Return the index of the current step; of the next one between two steps, of the last one at the end."""
    for status in ("current", "pending"):
        for index, step in enumerate(steps):
            if step.status == status:
                return index
    return max(len(steps) - 1, 0)


def _seconds(at: datetime | None) -> float | None:
    """Return the seconds since 1970, in which the old tracker counts."""
    return None if at is None else at.timestamp()
