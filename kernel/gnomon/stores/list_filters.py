"""What the filters and the order of a list of executions mean for a store that keeps rows."""

from __future__ import annotations

from typing import Final

from gnomon.domain.records import ExecutionQuery
from gnomon.domain.run_sorting import SortKey

OPERATORS: Final = {"least": ">=", "above": ">", "most": "<=", "below": "<"}
"""Of the fields of Bounds."""
SORT_COLUMNS: Final[dict[SortKey, str]] = {
    "job": "job_id",
    "status": "status",
    "duration": "duration",
    "late": "late",
    "progress": "progress",
    "by": "actor",
}
"""What rows are sorted by, apart from their time. No row of a run that is over has a progress."""


def has_ranges(query: ExecutionQuery) -> bool:
    """Return whether rows must be looked at to be counted, since `run_counts` knows nothing about their numbers."""
    return any(one is not None for one in (query.since, query.until, query.late, query.duration))
