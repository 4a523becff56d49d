"""Two periods of equal length side by side, from the counts by period: what changed, and for which jobs most."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import msgspec

from gnomon.durations import Duration
from gnomon.stores.microseconds import to_micros
from gnomon.wire.comparison import Comparison, Finding, JobComparison, Measure, PeriodFigures, Shift
from gnomon_stats.buckets import Buckets
from gnomon_stats.cells import CANCELLED, FAILED, LATENESS, MISSED, PERIOD_ERROR, SUCCESS, Cells
from gnomon_stats.fold import Statistics
from gnomon_stats.job_fold import ZoneDays
from gnomon_stats.lane_calls import Moment, check_calendar
from gnomon_stats.lane_fold import DAY_S, LEVELS, JobLanes
from gnomon_stats.lanes import LaneCounts, count_lane, seconds_at

SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=400)
LEAST: Final[dict[Measure, int]] = {"p50": 5, "p95": 20, "success_rate": 5, "lateness_p95": 20}
"""Runs that a measure needs in both periods: fewer say nothing about a median, or about the slowest twentieth."""
NOTABLE_FACTOR: Final = 1.25
NOTABLE_RATE: Final = 0.05
NOTABLE_DELAY_S: Final = 1.0
DAMPING_S: Final[dict[Measure, float]] = {"p50": 0.1, "p95": 0.1, "lateness_p95": 1.0}
"""Added to both values before they are compared: a run of 8 ms in place of 2 ms is not notable."""


class CompareQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The period of a length `span` that ends at `to`, by default now, and the one that ends at `other_to`.

    That is by default the one just before. With `job_id` only that job is compared; `jobs` is how many are listed.
    """

    span: str = "7d"
    until: Moment | None = msgspec.field(name="to", default=None)
    other_until: Moment | None = msgspec.field(name="other_to", default=None)
    job_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    jobs: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50

    def __post_init__(self) -> None:
        """Refuse a span that is not a duration, too short or too long, and times outside of the calendar."""
        try:
            is_valid = SHORTEST <= self.length <= LONGEST
        except ValueError:
            is_valid = False
        if not is_valid:
            raise ValueError(f'expected a `span` such as "24h" or "7d", up to {LONGEST.days}d, got {self.span!r}')
        check_calendar(to=self.until, other_to=self.other_until)

    @property
    def length(self) -> timedelta:
        """The length of each period; ValueError."""
        return Duration.parse(self.span)


class Periods(msgspec.Struct, frozen=True):
    """Two periods in units of one level."""

    period: Buckets
    other: Buckets


def choose_periods(query: CompareQuery, now: datetime, zone: ZoneInfo) -> Periods:
    """Return the two periods in the finest units that are kept so far back."""
    until = query.until or now + timedelta(microseconds=1)
    other_until = query.other_until or until - query.length
    age_s = (now - (other_until - query.length)).total_seconds()
    kept = (number for number, level in enumerate(LEVELS) if (level.kept - 2) * level.seconds >= age_s)
    level = next(kept, len(LEVELS) - 1)
    width = math.ceil(query.length.total_seconds() / LEVELS[level].seconds)
    last = _unit_of(until, level, zone)
    other_last = _unit_of(other_until, level, zone) if query.other_until is not None else last - width
    return Periods(
        Buckets(level=level, width=width, first=last - width + 1, count=1, zone=zone),
        Buckets(level=level, width=width, first=other_last - width + 1, count=1, zone=zone),
    )


def _unit_of(until: datetime, level: int, zone: ZoneInfo) -> int:
    """Return the last unit of a period that ends at a moment."""
    micros = to_micros(until) - 1
    if LEVELS[level].seconds == DAY_S:
        return ZoneDays(zone)(until - timedelta(microseconds=1), micros)
    return micros // (LEVELS[level].seconds * 1_000_000)


def compare_periods(
    statistics: Statistics, periods: Periods, most: int, among: Collection[str] | None = None
) -> Comparison:
    """Compare the periods for all jobs, or for those `among`, those that changed most first."""
    fold = statistics.lanes
    found = sorted(_ranked(statistics, periods, fold.jobs.keys() if among is None else among), key=_by_rank)
    if among is None:
        whole = _compare(None, fold.all.levels[periods.period.level], periods)
    else:
        whole = _sum_of(
            [fold.jobs[job_id].levels[periods.period.level] for job_id in among if job_id in fold.jobs], periods
        )
    return Comparison(
        since=periods.period.start(0),
        until=periods.period.start(1),
        other_since=periods.other.start(0),
        other_until=periods.other.start(1),
        unit_s=LEVELS[periods.period.level].seconds,
        timezone=statistics.zone,
        position=fold.position,
        all=whole,
        jobs=[one for _, one in found[:most]],
        cut=max(len(found) - most, 0),
        least=LEAST,
        quantile_error=PERIOD_ERROR,
    )


_Ranked = tuple[float, JobComparison]


def _by_rank(ranked: _Ranked) -> tuple[float, str]:
    return -ranked[0], ranked[1].job_id or ""


def _ranked(statistics: Statistics, periods: Periods, among: Collection[str]) -> Iterator[_Ranked]:
    for job_id in among:
        cells = (statistics.lanes.jobs.get(job_id) or JobLanes()).levels[periods.period.level]
        if any(cells.has(one.first, one.last) for one in (periods.period, periods.other)):
            one = _compare(job_id, cells, periods)
            yield _rank(one), one


def _compare(job_id: str | None, cells: Cells, periods: Periods) -> JobComparison:
    counts = [count_lane(cells, one, quantiles=False) for one in (periods.period, periods.other)]
    return _comparison(job_id, counts, [cells], periods)


def _sum_of(all_cells: list[Cells], periods: Periods) -> JobComparison:
    counts = [count_lane(Cells(), one, quantiles=False) for one in (periods.period, periods.other)]
    for cells in all_cells:
        for sum_, one in zip(counts, (periods.period, periods.other), strict=True):
            sum_.add(count_lane(cells, one, quantiles=False))
    return _comparison(None, counts, all_cells, periods)


def _comparison(job_id: str | None, counts: list[LaneCounts], cells: list[Cells], periods: Periods) -> JobComparison:
    period, other = map(figures, counts)
    too_few = [measure for measure in LEAST if min(_runs(measure, one) for one in (period, other)) < LEAST[measure]]
    first = min(periods.period.first, periods.other.first)
    dropped = max((one.dropped for one in cells if one.dropped is not None), default=None)
    is_cut = dropped is not None and dropped >= first
    return JobComparison(
        job_id=job_id,
        name=job_id,
        period=period,
        other=other,
        shift=_shift(period, other, too_few),
        too_few=too_few,
        findings=findings(period, other, too_few),
        complete_from=periods.period.start_of(dropped + 1) if is_cut and dropped is not None else None,
    )


def figures(counts: LaneCounts) -> PeriodFigures:
    """Return the figures of one period."""
    totals = {kind: sum(counts.ends[kind]) for kind in (SUCCESS, FAILED, MISSED, CANCELLED, LATENESS)}
    decided = totals[SUCCESS] + totals[FAILED]
    durations, delays = counts.merged(SUCCESS), counts.merged(LATENESS)
    return PeriodFigures(
        success=totals[SUCCESS],
        failed=totals[FAILED],
        missed=totals[MISSED],
        cancelled=totals[CANCELLED],
        starts=totals[LATENESS],
        success_rate=totals[SUCCESS] / decided if decided else None,
        p50=seconds_at(durations, SUCCESS, 0.50),
        p95=seconds_at(durations, SUCCESS, 0.95),
        lateness_p50=seconds_at(delays, LATENESS, 0.50),
        lateness_p95=seconds_at(delays, LATENESS, 0.95),
    )


def _runs(measure: Measure, one: PeriodFigures) -> int:
    """Return the number of runs that a measure rests on."""
    return {"success_rate": one.success + one.failed, "lateness_p95": one.starts}.get(measure, one.success)


def _shift(period: PeriodFigures, other: PeriodFigures, too_few: list[Measure]) -> Shift:
    def factor(measure: Measure) -> float | None:
        now, before = getattr(period, measure), getattr(other, measure)
        return round(now / before, 3) if measure not in too_few and before else None

    def difference(measure: Measure) -> float | None:
        return round(getattr(period, measure) - getattr(other, measure), 6) if measure not in too_few else None

    return Shift(
        p50=factor("p50"),
        p95=factor("p95"),
        success_rate=difference("success_rate"),
        lateness_p95=difference("lateness_p95"),
    )


def findings(period: PeriodFigures, other: PeriodFigures, too_few: list[Measure]) -> list[Finding]:
    """Return what has changed notably, as far as there are enough runs to say so."""
    found: list[Finding] = []
    ended, ended_before = (one.success + one.failed + one.missed + one.cancelled for one in (period, other))
    if ended and not ended_before:
        found.append("new")
    if ended_before and not ended:
        found.append("gone")
    factors = [_factor(measure, period, other, too_few) for measure in ("p50", "p95")]
    if max(factors) >= math.log2(NOTABLE_FACTOR):
        found.append("slower")
    if min(factors) <= -math.log2(NOTABLE_FACTOR):
        found.append("faster")
    rate = _rate(period, other, too_few)
    if abs(rate) >= NOTABLE_RATE:
        found.append("fails_less" if rate > 0 else "fails_more")
    late = _factor("lateness_p95", period, other, too_few)
    if abs(late) >= math.log2(NOTABLE_FACTOR) and abs(period.lateness_p95 - other.lateness_p95) >= NOTABLE_DELAY_S:  # type: ignore[operator]
        found.append("later" if late > 0 else "more_punctual")
    return found


def _factor(measure: Measure, period: PeriodFigures, other: PeriodFigures, too_few: list[Measure]) -> float:
    """Return the binary logarithm of the factor between two damped values; 0 where there are too few runs."""
    if measure in too_few:
        return 0.0
    now, before = (getattr(one, measure) + DAMPING_S[measure] for one in (period, other))
    return math.log2(now / before)


def _rate(period: PeriodFigures, other: PeriodFigures, too_few: list[Measure]) -> float:
    if "success_rate" in too_few or period.success_rate is None or other.success_rate is None:
        return 0.0
    return period.success_rate - other.success_rate


def _rank(one: JobComparison) -> float:
    """Return how much a job has changed: a doubled duration counts as much as a quarter of the runs that fail."""
    arguments = (one.period, one.other, one.too_few)
    factors = (_factor(measure, *arguments) for measure in DAMPING_S)
    return max(*map(abs, factors), abs(_rate(*arguments)) * 4)
