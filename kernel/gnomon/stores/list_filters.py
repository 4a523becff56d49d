"""What the filters of a list of executions mean for a store that keeps rows."""

from __future__ import annotations

from typing import Final

from gnomon.domain.records import ExecutionQuery

OPERATORS: Final = {"least": ">=", "above": ">", "most": "<=", "below": "<"}
"""Of the fields of Bounds."""


def has_ranges(query: ExecutionQuery) -> bool:
    """Return whether rows must be looked at to be counted, since `run_counts` knows nothing about their numbers."""
    return any(one is not None for one in (query.since, query.until, query.late, query.duration))
