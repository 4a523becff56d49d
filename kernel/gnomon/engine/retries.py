"""The next run after one that failed or was snoozed: whether there is one, when it begins, and its id."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from gnomon.domain.execution import Execution, later_execution_id
from gnomon.durations import LONGEST_DELAY
from gnomon.engine.active_run import RETRIED
from gnomon.jobs.job import Retry


def retry_delay(retry: Retry, attempt: int) -> timedelta:
    """Return the delay after that attempt has failed, at most LONGEST_DELAY before jitter."""
    longest = LONGEST_DELAY if retry.max_delay is None else min(LONGEST_DELAY, retry.max_delay)
    try:
        seconds = min(retry.delay.total_seconds() * retry.backoff ** (attempt - 1), longest.total_seconds())
    except OverflowError:  # a factor that no float can hold
        seconds = longest.total_seconds()
    return timedelta(seconds=seconds * (1 + retry.jitter * random.random()))  # noqa: S311 - it only spreads load


def next_run(ended: Execution, retry: Retry, now: datetime) -> tuple[str, dict[str, Any]] | None:
    """Return the id and the facts of the run that follows one that has ended; None where none does.

    A snooze is always followed. A failure is where the policy has an attempt left and nobody has cancelled the run.
    """
    snoozes, not_before = ended.snoozes, ended.snoozed_until
    if not_before is not None:
        snoozes += 1
    else:
        if ended.status != "failed" or ended.reason not in RETRIED or ended.cancel_requested:
            return None
        if ended.tries >= retry.attempts:
            return None
        not_before = now + retry_delay(retry, ended.tries)
    return later_execution_id(ended), {
        "scheduled_time": ended.scheduled_time,
        "is_manual": ended.is_manual,
        "force": ended.force,
        "args": ended.args,
        "kwargs": ended.kwargs,
        "labels": ended.labels,
        "actor": ended.actor,
        "attempt": ended.attempt + 1,
        "retry_of": ended.id,
        "snoozes": snoozes,
        "triggered_by": ended.triggered_by,
        "trigger_depth": ended.trigger_depth,
        "not_before": not_before,
        "cause": ended.cause,
    }
