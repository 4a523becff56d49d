"""What is known about the duration of a run: how long it has taken, and how long it still needs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median

import msgspec

from gnomon.domain.eta import ENOUGH, Eta, PastRun, estimate_rest
from gnomon.domain.execution import Execution

TYPICAL_RUNS = 20
"""Newest successful runs of a job from which the next one is estimated."""


class Timing(msgspec.Struct, frozen=True):
    """In seconds: how long a run has taken so far, and how long it will take; None where that is unknown.

    `remaining` is the middle of `eta`, which has the range.
    """

    elapsed: float
    estimated_total: float | None
    remaining: float | None
    eta: Eta | None = None


def timing(execution: Execution, past: Sequence[Execution], now: datetime) -> Timing:
    """Return the timing of a run, given past successful runs of its job."""
    if execution.is_over:
        spent = execution.execution_time or 0.0
        return Timing(spent, spent, 0.0)
    if execution.status == "scheduled":
        return Timing(0.0, typical_duration(past), typical_duration(past))
    elapsed, found = elapsed_of(execution, now), eta_of(execution, [past_run(one) for one in past], now)
    if found is None:
        return Timing(elapsed, None, None)
    return Timing(elapsed, elapsed + found.middle, found.middle, found)


def eta_of(execution: Execution, past: Sequence[PastRun], now: datetime) -> Eta | None:
    """Return how long a run still needs; None for one that is not running, or was asked to stop.

    When a body that was asked to stop does so is up to the body: a thread may ignore it for as long as it runs.
    """
    if execution.status != "running" or execution.cancel_requested:
        return None
    return estimate_rest(execution.progress, elapsed_of(execution, now), past, now)


def elapsed_of(execution: Execution, now: datetime) -> float:
    """Return the seconds since a run has begun."""
    return max((now - execution.timestamp) / timedelta(seconds=1), 0.0)


def past_run(execution: Execution) -> PastRun:
    """Return what a successful run says about the next one."""
    steps = {
        step.name: (step.ended_at - step.started_at) / timedelta(seconds=1)
        for step in execution.progress.steps
        if step.status == "completed" and step.started_at is not None and step.ended_at is not None
    }
    return PastRun(execution.execution_time or 0.0, steps)


def typical_duration(past: Sequence[Execution]) -> float | None:
    """Return the median duration in seconds of past runs; None if there are too few."""
    spent = [one.execution_time for one in past if one.execution_time is not None]
    return median(spent) if len(spent) >= ENOUGH else None
