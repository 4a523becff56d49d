"""When the next attempt of a failed run begins, and its id."""

from __future__ import annotations

import random
from datetime import timedelta

from gnomon.domain.execution import Execution, execution_id
from gnomon.jobs.job import Retry

LONGEST_DELAY = timedelta(days=3650)
"""The limit of every retry delay: one that grows with each attempt would soon exceed a timedelta or the calendar."""


def retry_delay(retry: Retry, attempt: int) -> timedelta:
    """Return the delay after that attempt has failed, at most LONGEST_DELAY before jitter."""
    longest = LONGEST_DELAY if retry.max_delay is None else min(LONGEST_DELAY, retry.max_delay)
    try:
        seconds = min(retry.delay.total_seconds() * retry.backoff ** (attempt - 1), longest.total_seconds())
    except OverflowError:  # a factor that no float can hold
        seconds = longest.total_seconds()
    return timedelta(seconds=seconds * (1 + retry.jitter * random.random()))  # noqa: S311 - it only spreads load


def retry_id(failed: Execution, attempt: int) -> str:
    """Return the id of the next attempt: from the time of a fire, from the first run of a manual one."""
    if failed.is_manual:
        return execution_id(f"{failed.job_id}\0{failed.retry_of or failed.id}", failed.scheduled_time, attempt)
    return execution_id(failed.job_id, failed.scheduled_time, attempt)
