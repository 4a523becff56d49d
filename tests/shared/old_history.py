"""A database that an application with its own scheduler history leaves; times are of UTC+8, without an offset."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId

FIRST = datetime.fromisoformat("2025-03-01T09:00")  # in Shanghai
RUNS, JOBS, ACTS = 300, 20, 50
STATUSES = ("success", "failed", "missed", "running")
DocumentDict = dict[str, Any]


def job_id(number: int) -> str:
    return f"sync_source_{number % JOBS:02}"


def run(number: int) -> DocumentDict:
    order = random.Random(number)
    status, at = STATUSES[number % 4], FIRST + timedelta(minutes=7 * number, milliseconds=order.randrange(1000))
    record: DocumentDict = {
        "_id": ObjectId.from_datetime(at - timedelta(hours=8)),
        "job_id": job_id(number),
        "job_name": f"数据同步 {number % JOBS}",
        "status": status,
        "scheduled_time": at.replace(microsecond=0),
        "execution_time": None if status in {"missed", "running"} else round(order.uniform(0.1, 300), 3),
        "timestamp": at,
        "is_manual": number % 10 == 3,
    }
    if status == "success":
        record |= {"return_value": "{'rows': 17}", "progress": 100, "updated_at": at + timedelta(seconds=40)}
    if status == "failed":
        record |= {
            "error_message": "连接超时",
            "traceback": "Traceback (most recent call last):\n  ...\nTimeoutError: 连接超时\n",
        }
    if status == "running":
        record |= {
            "progress": 35,
            "progress_message": "处理中",
            "current_item": "600519",
            "total_items": 90,
            "processed_items": 31,
        }
        record |= {"cancel_requested": True, "updated_at": at + timedelta(seconds=5)}
    if number % 7 == 0:
        del record["is_manual"]  # older records have none
    return record


def act(number: int) -> DocumentDict:
    failed = number % 9 == 8
    return {
        "job_id": job_id(number),
        "action": ("pause", "resume", "trigger")[number % 3],
        "status": "failed" if failed else "success",
        "error_message": "任务不存在" if failed else ("手动触发执行" if number % 3 == 2 else None),
        "timestamp": FIRST + timedelta(hours=number),
    }


def metadata(number: int) -> DocumentDict:
    fields = {"job_id": job_id(number), "updated_at": FIRST + timedelta(days=number)}
    return fields | {"display_name": f"源 {number}", "description": f"每日同步 {number}"}


async def fill(database: Any, *, unique_metadata: bool = True) -> None:
    """Write 300 runs in four statuses, 20 descriptions and 50 acts, and make three indexes under foreign names."""
    await database.scheduler_executions.insert_many([run(number) for number in range(RUNS)])
    await database.scheduler_metadata.insert_many([metadata(number) for number in range(JOBS)])
    await database.scheduler_history.insert_many([act(number) for number in range(ACTS)])
    await database.scheduler_executions.create_index([("job_id", 1), ("timestamp", -1)], name="idx_job_time")
    await database.scheduler_history.create_index([("timestamp", -1)], name="idx_history_time")
    await database.scheduler_metadata.create_index([("job_id", 1)], name="idx_metadata_job", unique=unique_metadata)
