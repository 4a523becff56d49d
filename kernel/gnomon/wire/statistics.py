"""Statistics on the wire. Durations are in seconds."""

from __future__ import annotations

from datetime import date, datetime

import msgspec

from gnomon.domain.execution import Status


class Counts(msgspec.Struct, kw_only=True):
    """The number of executions by status, including those hidden from lists."""

    total: int
    scheduled: int
    running: int
    success: int
    failed: int
    missed: int
    cancelled: int


class LastCounted(msgspec.Struct, kw_only=True):
    """The execution with the newest start (or the newest record, for one that never started), hidden or not."""

    id: str
    status: Status
    timestamp: datetime
    execution_time: float | None = None


class Streak(msgspec.Struct):
    """The number of latest runs in a row with the same outcome, and the longest such rows so far."""

    status: str | None
    length: int
    longest_success: int
    longest_failed: int


class Day(msgspec.Struct):
    """The executions that ended on one day; the mean is of the successful ones."""

    day: date
    success: int
    failed: int
    missed: int
    cancelled: int
    avg_execution_time: float | None = None


class Hour(msgspec.Struct):
    """The executions that ended in the hour that begins at `hour`; the mean is of the successful ones."""

    hour: datetime
    success: int
    failed: int
    missed: int
    cancelled: int
    avg_execution_time: float | None = None


class JobStatistics(Counts, kw_only=True):
    """The statistics of one job. The plugin `stats` computes all of them; without it what it alone knows is null.

    `success_rate`, 0 to 1, is the share of successes among the runs that succeeded or failed. Durations are of
    successful runs; a percentile lies within them, and differs from the exact one by the share `percentile_error` at
    most. `by_day` and `by_hour` list the periods in which something ended.
    """

    job_id: str
    success_rate: float | None = None
    avg_execution_time: float | None = None
    p50: float | None = None
    p95: float | None = None
    percentile_error: float | None = None
    last_execution: LastCounted | None = None
    streak: Streak | None = None
    by_day: list[Day] | None = None
    by_hour: list[Hour] | None = None
