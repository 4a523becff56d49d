"""Statistics of executions as counted by the server, to verify or to initialize what a plugin folds itself."""

from __future__ import annotations

from typing import Any

from gnomon.domain.execution import STATUSES
from gnomon.domain.records import ExecutionCounts
from gnomon_mongo import schema
from gnomon_mongo.documents.foreign_documents import own
from gnomon_mongo.drivers import Document, aggregate
from gnomon_mongo.server import LIST_LIMIT_S, Server


async def statistics(server: Server, job_id: str | None = None) -> list[ExecutionCounts]:
    """Count the executions of one job or of each, hidden ones included; dates are truncated to milliseconds."""
    match: Document = {"$match": own(schema.EXECUTIONS) | ({} if job_id is None else {"job_id": job_id})}
    async with server.reading(LIST_LIMIT_S):
        found = await aggregate(server[schema.EXECUTIONS], [match, *_PIPELINE])
    return [_of_group(group) for group in found]


def _counted(status: str) -> Document:
    return {"$sum": {"$cond": [{"$eq": ["$status", status]}, 1, 0]}}


# The sort is the order of an index, so $first costs nothing.
_PIPELINE: list[Document] = [
    {"$sort": {"job_id": 1, "timestamp": -1}},
    {
        "$group": {
            "_id": "$job_id",
            **{status: _counted(status) for status in STATUSES},
            "average": {"$avg": {"$cond": [{"$eq": ["$status", "success"]}, "$execution_time", None]}},
            "last_id": {"$first": "$_id"},
            "last_status": {"$first": "$status"},
            "last_timestamp": {"$first": "$timestamp"},
        }
    },
    {"$sort": {"_id": 1}},
]


def _of_group(group: dict[str, Any]) -> ExecutionCounts:
    return ExecutionCounts(
        job_id=group["_id"],
        by_status={status: group[status] for status in STATUSES if group[status]},
        average_execution_time=group["average"],
        last_id=str(group["last_id"]),
        last_status=group["last_status"],
        last_timestamp=group["last_timestamp"],
    )
