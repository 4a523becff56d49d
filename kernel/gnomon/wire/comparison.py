"""The comparison of two periods on the wire. Durations and delays are in seconds."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from gnomon.domain.run_difference import LoggedAct

Measure = Literal["p50", "p95", "success_rate", "lateness_p95"]
Finding = Literal["slower", "faster", "fails_more", "fails_less", "later", "more_punctual", "new", "gone"]


class PeriodFigures(msgspec.Struct, kw_only=True):
    """The runs of a period: by status those that ended in it, and `starts`, those that began in it.

    `success_rate` is that of successes among successes and failures. The percentiles are those of the durations of
    successes, and of the delays between due time and start.
    """

    success: int
    failed: int
    missed: int
    cancelled: int
    starts: int
    success_rate: float | None
    p50: float | None
    p95: float | None
    lateness_p50: float | None
    lateness_p95: float | None


class Shift(msgspec.Struct, kw_only=True):
    """How far a period is from the other one; null where a measure has too few runs in one of them.

    `p50` and `p95` are factors: 1.5 is half as long again. `success_rate` and `lateness_p95` are differences.
    """

    p50: float | None
    p95: float | None
    success_rate: float | None
    lateness_p95: float | None


class JobComparison(msgspec.Struct, kw_only=True):
    """The two periods of a job; `job_id` is null for all jobs together.

    `too_few` lists the measures that have too few runs in one of the periods. `findings` are what has changed notably.
    `changes` are the newest changes of the job's definition in the two periods, of `changes_total`. `complete_from` is
    set where earlier runs of the other period are no longer kept.
    """

    job_id: str | None
    name: str | None
    period: PeriodFigures
    other: PeriodFigures
    shift: Shift
    too_few: list[Measure]
    findings: list[Finding]
    changes: list[LoggedAct] = []
    changes_total: int = 0
    complete_from: datetime | None = None


class Comparison(msgspec.Struct, kw_only=True):
    """Two periods of the same length, exact up to `position` of the log.

    The periods are widened to whole units of `unit_s`. `jobs` are those that changed most first; `cut` is the number of
    jobs that are left out. `least` is the number of runs that each measure needs in both periods.
    """

    since: datetime = msgspec.field(name="from")
    until: datetime = msgspec.field(name="to")
    other_since: datetime = msgspec.field(name="other_from")
    other_until: datetime = msgspec.field(name="other_to")
    unit_s: int
    timezone: str
    position: int
    all: JobComparison
    jobs: list[JobComparison]
    cut: int
    least: dict[Measure, int]
    quantile_error: float
