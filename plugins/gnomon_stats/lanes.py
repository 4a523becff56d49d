"""Timelines from the counts by period: which jobs they show, and the counts and percentiles of their buckets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gnomon.wire.lanes import Lane, Lanes, LanesCut, LaneTotals
from gnomon_stats.buckets import Buckets
from gnomon_stats.cells import CANCELLED, FAILED, LATENESS, MISSED, PERIOD_ERROR, SUCCESS, Cells, period_middle
from gnomon_stats.fold import Statistics
from gnomon_stats.histogram import percentile
from gnomon_stats.lane_fold import JobLanes

LETTERS: Final = ((FAILED, "f"), (MISSED, "m"), (CANCELLED, "c"), (SUCCESS, "s"))
"""From the worst status to the best."""
ENDS: Final = (SUCCESS, FAILED, MISSED, CANCELLED)
MOST_CELLS: Final = 4_000
"""Lanes times buckets of an answer: about 30 kB, with `quantiles` three times as much."""

_Histogram = dict[int, int]


class LaneCounts(msgspec.Struct):
    """The counts of one lane: by kind and bucket, and histograms of durations and delays by bucket."""

    ends: dict[int, list[int]]
    histograms: dict[int, dict[int, _Histogram]]

    def subtract(self, other: LaneCounts) -> None:
        """Subtract the counts of another lane, which is a part of this one."""
        for kind, column in other.ends.items():
            if any(column):
                self.ends[kind] = [one - two for one, two in zip(self.ends[kind], column, strict=True)]
        for kind, by_bucket in other.histograms.items():
            for at, counts in by_bucket.items():
                rest = self.histograms[kind][at]
                for bucket, count in counts.items():
                    rest[bucket] -= count

    def merged(self, kind: int) -> _Histogram:
        """Return the histogram of all buckets together."""
        found: _Histogram = {}
        for counts in self.histograms[kind].values():
            for bucket, count in counts.items():
                found[bucket] = found.get(bucket, 0) + count
        return found


def count_lane(cells: Cells, buckets: Buckets) -> LaneCounts:
    """Add up the periods of each bucket."""
    ends = {kind: [0] * buckets.count for kind in ENDS}
    histograms: dict[int, dict[int, _Histogram]] = {SUCCESS: {}, LATENESS: {}}
    first, width = buckets.first, buckets.width
    for kind in (*ENDS, LATENESS):
        column, by_bucket = ends.get(kind, []), histograms.get(kind)
        for period, bucket, count in cells.within(kind, first, buckets.last):
            at = (period - first) // width
            if kind != LATENESS:
                column[at] += count
            if by_bucket is not None:
                if (counts := by_bucket.get(at)) is None:
                    counts = by_bucket[at] = {}
                counts[bucket] = counts.get(bucket, 0) + count
    return LaneCounts(ends, histograms)


def lanes(
    statistics: Statistics, buckets: Buckets, most: int, *, only: str | None = None, quantiles: bool = False
) -> Lanes:
    """Return the timeline of all jobs, with a lane for each of up to `most` of them; with `only`, that of one job."""
    fold = statistics.lanes
    if only is not None:
        chosen, cut_jobs = [only], 0
        of_all = fold.jobs.get(only) or JobLanes()
    else:
        ranked = _ranked(statistics, buckets)
        chosen = ranked[: min(most, max(MOST_CELLS // buckets.count, 1))]
        cut_jobs, of_all = len(ranked) - len(chosen), fold.all
    every = count_lane(of_all.levels[buckets.level], buckets)
    rest, shown = count_lane(of_all.levels[buckets.level], buckets), []
    for job_id in chosen:
        cells = (fold.jobs.get(job_id) or JobLanes()).levels[buckets.level]
        counts = count_lane(cells, buckets)
        rest.subtract(counts)
        shown.append(_lane(job_id, counts, cells, buckets, _running(statistics, [job_id]), quantiles=quantiles))
    others = None
    if cut_jobs:
        running = _running(statistics, statistics.jobs.keys() - set(chosen))
        others = _lane(None, rest, None, buckets, running, quantiles=quantiles)
    totals = others.total if others is not None else LaneTotals(0, 0, 0, 0)
    return Lanes(
        since=buckets.start(0),
        until=buckets.start(buckets.count),
        bucket_s=buckets.seconds,
        buckets=buckets.count,
        starts=[buckets.start(number) for number in range(buckets.count)] if buckets.seconds >= 86_400 else None,
        timezone=statistics.zone,
        position=fold.position,
        all=_lane(
            None,
            every,
            of_all.levels[buckets.level],
            buckets,
            _running(statistics, statistics.jobs if only is None else [only]),
            quantiles=quantiles,
        ),
        lanes=shown,
        others=others,
        cut=LanesCut(cut_jobs, totals.success + totals.failed + totals.missed + totals.cancelled),
        quantile_error=PERIOD_ERROR,
    )


def _ranked(statistics: Statistics, buckets: Buckets) -> list[str]:
    """Return the jobs with a run in the range, or one that runs now, those that matter first."""
    first, last = buckets.first, buckets.last
    found = []
    for job_id, job in statistics.lanes.jobs.items():
        cells = job.levels[buckets.level]
        bad = cells.total(FAILED, first, last) + cells.total(MISSED, first, last)
        running = _running(statistics, [job_id])
        if bad or running or cells.has(first, last):
            counted = statistics.jobs.get(job_id)
            newest = counted.last.at if counted is not None and counted.last is not None else 0
            found.append((-bad, not running, -newest, job_id))
    return [job_id for *_, job_id in sorted(found)]


def _running(statistics: Statistics, job_ids: Iterable[str]) -> int:
    jobs = (statistics.jobs.get(job_id) for job_id in job_ids)
    return sum(run.running for job in jobs if job is not None for run in job.open.values())


def _lane(
    job_id: str | None, counts: LaneCounts, cells: Cells | None, buckets: Buckets, running: int, *, quantiles: bool
) -> Lane:
    lateness, durations = counts.merged(LATENESS), counts.merged(SUCCESS)
    totals = {kind: sum(counts.ends[kind]) for kind in ENDS}
    columns = {kind: counts.ends[kind] if totals[kind] else None for kind in ENDS}
    cut = cells is not None and cells.dropped is not None and cells.dropped >= buckets.first
    return Lane(
        job_id=job_id,
        name=job_id,
        total=LaneTotals(*(totals[kind] for kind in ENDS)),
        worst="".join(_worst(counts, at) for at in range(buckets.count)),
        success=columns[SUCCESS],
        failed=columns[FAILED],
        missed=columns[MISSED],
        cancelled=columns[CANCELLED],
        running=running,
        p50=seconds_at(durations, SUCCESS, 0.50),
        p95=seconds_at(durations, SUCCESS, 0.95),
        lateness_p50=seconds_at(lateness, LATENESS, 0.50),
        lateness_p95=seconds_at(lateness, LATENESS, 0.95),
        bucket_p50=_by_bucket(counts, SUCCESS, 0.50, buckets) if quantiles else None,
        bucket_p95=_by_bucket(counts, SUCCESS, 0.95, buckets) if quantiles else None,
        bucket_lateness_p95=_by_bucket(counts, LATENESS, 0.95, buckets) if quantiles else None,
        complete_from=buckets.start_of(cells.dropped + 1) if cut else None,  # type: ignore[union-attr,operator]
    )


def _worst(counts: LaneCounts, at: int) -> str:
    return next((letter for kind, letter in LETTERS if counts.ends[kind][at]), ".")


def _by_bucket(counts: LaneCounts, kind: int, share: float, buckets: Buckets) -> list[float | None]:
    by_bucket = counts.histograms[kind]
    return [seconds_at(by_bucket.get(at, {}), kind, share) for at in range(buckets.count)]


def seconds_at(counts: Mapping[int, int], kind: int, share: float) -> float | None:
    """Return the percentile of a histogram, in seconds, to three digits; None without any."""
    micros = percentile(counts, share, middle=lambda bucket: period_middle(kind, bucket))
    return None if micros is None else float(f"{micros / 1e6:.3g}")
