"""Timelines on the wire: the runs of jobs by buckets of time. Durations and delays are in seconds."""

from __future__ import annotations

from datetime import datetime

import msgspec


class LaneTotals(msgspec.Struct):
    """The runs that ended in the whole range, by status."""

    success: int
    failed: int
    missed: int
    cancelled: int


class Lane(msgspec.Struct, kw_only=True):
    """The runs of one job, or of several, by bucket; `job_id` is null for several.

    `worst` has a letter for each bucket: `f` failed, `m` missed, `c` cancelled, `s` success, `.` nothing. Counts have
    a number for each bucket; null stands for zeros alone. `running` counts the runs that have begun and not ended.
    Percentiles are those of the durations of successes and of the delays of starts, of the whole range, or by bucket
    where the request asks for `quantiles`. `complete_from` is set where earlier runs of the range are no longer kept.
    """

    job_id: str | None
    name: str | None
    total: LaneTotals
    worst: str
    success: list[int] | None
    failed: list[int] | None
    missed: list[int] | None
    cancelled: list[int] | None
    running: int
    p50: float | None
    p95: float | None
    lateness_p50: float | None
    lateness_p95: float | None
    bucket_p50: list[float | None] | None = None
    bucket_p95: list[float | None] | None = None
    bucket_lateness_p95: list[float | None] | None = None
    complete_from: datetime | None = None


class LanesCut(msgspec.Struct):
    """What the list of lanes leaves out: jobs with runs in the range, and their runs."""

    jobs: int
    runs: int


class Lanes(msgspec.Struct, kw_only=True):
    """A timeline, exact up to `position` of the log.

    The range of the request is widened to whole buckets of `bucket_s`: `from` and `to` are its ends, and `starts` the
    begins of buckets where they are days of `timezone`, which differ in length. A run counts in the bucket in which it
    ended, its lateness in the one in which it began. `lanes` has the jobs that matter first: those with failed or
    missed runs, then those that run now, then those that ended last. `others` is the sum of the jobs that were cut.
    """

    since: datetime = msgspec.field(name="from")
    until: datetime = msgspec.field(name="to")
    bucket_s: int
    buckets: int
    starts: list[datetime] | None
    timezone: str
    position: int
    all: Lane
    lanes: list[Lane]
    others: Lane | None
    cut: LanesCut
    quantile_error: float
