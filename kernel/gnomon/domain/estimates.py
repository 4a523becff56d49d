"""Estimates of how long a run takes: medians of past runs and their steps, combined with its own progress."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median

from gnomon.domain.execution import Execution
from gnomon.domain.progress import Timing, estimate

TYPICAL_RUNS = 20
"""Newest successful runs of a job whose median estimates the next one."""
ENOUGH = 3
"""Fewest past runs from which a median is taken."""


def timing(execution: Execution, past: Sequence[Execution], now: datetime) -> Timing:
    """Return the timing of a run, given past successful runs of its job."""
    if execution.is_over:
        spent = execution.execution_time or 0.0
        return Timing(spent, spent, 0.0)
    if execution.status == "scheduled":
        return Timing(0.0, typical_duration(past), typical_duration(past))
    elapsed = max((now - execution.timestamp) / timedelta(seconds=1), 0.0)
    return estimate(execution.progress, elapsed, typical_duration(past), typical_steps(past), now)


def typical_duration(past: Sequence[Execution]) -> float | None:
    """Return the median duration in seconds of past runs; None if there are too few."""
    spent = [one.execution_time for one in past if one.execution_time is not None]
    return median(spent) if len(spent) >= ENOUGH else None


def typical_steps(past: Sequence[Execution]) -> dict[str, float]:
    """Return the median duration in seconds of each step that enough past runs have completed."""
    spent: defaultdict[str, list[float]] = defaultdict(list)
    for one in past:
        for step in one.progress.steps:
            if step.status == "completed" and step.started_at and step.ended_at:
                spent[step.name].append((step.ended_at - step.started_at) / timedelta(seconds=1))
    return {name: median(seconds) for name, seconds in spent.items() if len(seconds) >= ENOUGH}
