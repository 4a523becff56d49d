"""Timelines from the counts by period: which jobs they show, and the counts and percentiles of their buckets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from gnomon.wire.lanes import Lane, Lanes, LanesCut, LaneTotals
from gnomon_stats.buckets import Buckets
from gnomon_stats.cells import CANCELLED, FAILED, LATENESS, MISSED, PERIOD_ERROR, SUCCESS, Cells, period_middle
from gnomon_stats.fold import Statistics
from gnomon_stats.histogram import percentile
from gnomon_stats.lane_fold import JobLanes, LaneFold

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

    def copy(self) -> LaneCounts:
        """Return a copy that may be changed."""
        histograms = {
            kind: {at: dict(counts) for at, counts in by_bucket.items()} for kind, by_bucket in self.histograms.items()
        }
        return LaneCounts({kind: list(column) for kind, column in self.ends.items()}, histograms)

    def add(self, other: LaneCounts) -> None:
        """Add the counts of another lane."""
        for kind, column in other.ends.items():
            if any(column):
                self.ends[kind] = [one + two for one, two in zip(self.ends[kind], column, strict=True)]
        for kind, by_bucket in other.histograms.items():
            for at, counts in by_bucket.items():
                known = self.histograms[kind].setdefault(at, {})
                for bucket, count in counts.items():
                    known[bucket] = known.get(bucket, 0) + count

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


def count_lane(cells: Cells, buckets: Buckets, *, quantiles: bool) -> LaneCounts:
    """Add up the periods of each bucket, with a histogram for each where `quantiles` are wanted, else with one."""
    size, found = buckets.count, LaneCounts({}, {})
    for kind in (*ENDS, LATENESS):
        column = found.ends[kind] = [0] * size
        histograms: list[_Histogram] = [{} for _ in range(size)] if quantiles else [{}] * size  # the same one
        cells.add_up(kind, buckets.first, buckets.width, column, histograms)
        found.histograms[kind] = dict(enumerate(histograms if quantiles else histograms[:1]))
    return found


def lanes(
    statistics: Statistics,
    buckets: Buckets,
    most: int,
    *,
    among: Collection[str] | None = None,
    quantiles: bool = False,
) -> Lanes:
    """Return the timeline of all jobs, or of those `among`, with a lane for each of up to `most` of them."""
    fold = statistics.lanes
    ranked = _ranked(statistics, buckets, fold.jobs.keys() if among is None else among)
    if among is not None and len(among) == 1:
        ranked = list(among)  # one job has its lane, also without runs
    chosen = ranked[: min(most, max(MOST_CELLS // buckets.count, 1))]
    cut_jobs = len(ranked) - len(chosen)
    all_cells = fold.all.levels[buckets.level] if among is None else Cells()
    every = count_lane(all_cells, buckets, quantiles=quantiles)
    if among is not None:
        for job_id in ranked:
            every.add(count_lane(_cells(fold, job_id, buckets), buckets, quantiles=quantiles))
    rest, shown = every.copy(), []
    for job_id in chosen:
        cells = _cells(fold, job_id, buckets)
        counts = count_lane(cells, buckets, quantiles=quantiles)
        rest.subtract(counts)
        shown.append(_lane(job_id, counts, cells, buckets, _running(statistics, [job_id]), quantiles=quantiles))
    others = None
    if cut_jobs:
        running = _running(statistics, ranked[len(chosen) :])
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
            all_cells if among is None else None,
            buckets,
            _running(statistics, ranked),
            quantiles=quantiles,
        ),
        lanes=shown,
        others=others,
        cut=LanesCut(cut_jobs, totals.success + totals.failed + totals.missed + totals.cancelled),
        quantile_error=PERIOD_ERROR,
    )


def _cells(fold: LaneFold, job_id: str, buckets: Buckets) -> Cells:
    return (fold.jobs.get(job_id) or JobLanes()).levels[buckets.level]


def _ranked(statistics: Statistics, buckets: Buckets, among: Iterable[str]) -> list[str]:
    """Return the jobs with a run in the range, or one that runs now, those that matter first."""
    first, last = buckets.first, buckets.last
    found = []
    for job_id in among:
        cells = _cells(statistics.lanes, job_id, buckets)
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
