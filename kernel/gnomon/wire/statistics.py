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


class EtaChecks(msgspec.Struct):
    """The successful runs for which a range was known, and how many of them ended inside, before and after it.

    `mean_error` is the mean distance in seconds from the middle of the range.
    """

    runs: int
    inside: int
    early: int
    late: int
    mean_error: float | None


class EtaAccuracy(msgspec.Struct):
    """How well the time left was estimated: by the range at the start of runs, and by the one at half of their work."""

    start: EtaChecks
    halfway: EtaChecks


class JobStatistics(Counts, kw_only=True):
    """The statistics of one job. The plugin `stats` computes all of them; without it what it alone knows is null.

    `success_rate`, 0 to 1, is the share of successes among the runs that succeeded or failed. Durations are of
    successful runs; a percentile lies within them, and differs from the exact one by the share `percentile_error` at
    most. `by_day` and `by_hour` list the periods in which something ended. `eta_accuracy` is null where no run has been
    checked.
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
    eta_accuracy: EtaAccuracy | None = None


class LabelValueStatistics(Counts, kw_only=True):
    """The statistics of the runs of all jobs with one value of a label, as those of a job, by up to 31 days.

    `value` is null for the runs with values that are not counted one by one.
    """

    value: str | None
    success_rate: float | None
    avg_execution_time: float | None
    p50: float | None
    p95: float | None
    percentile_error: float | None
    last_execution: LastCounted | None
    streak: Streak | None
    by_day: list[Day]


class LabelStatistics(msgspec.Struct, kw_only=True):
    """The statistics by the value of one label, the values with most runs first; `total` is the number of values.

    The first `most_values` values are counted one by one, each from its first run on. `other` counts the runs with any
    later value together; it is null while there are none.
    """

    label: str
    values: list[LabelValueStatistics]
    total: int
    other: LabelValueStatistics | None
    most_values: int


class LabelName(msgspec.Struct):
    """A label by which runs are counted, and the number of its values; `has_other`: some are counted together."""

    label: str
    values: int
    has_other: bool


class LabelNames(msgspec.Struct, kw_only=True):
    """The labels by which runs are counted; `left_out` is the number of ended runs under names beyond the limit."""

    labels: list[LabelName]
    left_out: int
