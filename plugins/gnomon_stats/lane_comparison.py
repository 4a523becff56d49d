"""The comparison of saved counts by period with those counted again from the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from gnomon_stats.cells import KINDS, Cells
from gnomon_stats.lane_fold import DAY_S, LEVELS, JobLanes, LaneFold

KIND_NAMES = ("successes", "failures", "missed fires", "cancelled runs", "starts")


def compare_lanes(
    kept: LaneFold, log: LaneFold, *, whole_after: int, days_after: int
) -> Iterator[tuple[str | None, str, Any, Any]]:
    """Yield job, what differs, and both values; None stands for all jobs together.

    Of a log that was pruned, the saved counts must be at least those that it has. Days of another zone are left out.
    """
    yield from ((None, *one) for one in _compare(kept.all, log.all, whole_after, days_after))
    for job_id in sorted(kept.jobs.keys() | log.jobs.keys()):
        ours, theirs = kept.jobs.get(job_id) or JobLanes(), log.jobs.get(job_id) or JobLanes()
        yield from ((job_id, *one) for one in _compare(ours, theirs, whole_after, days_after))


def _compare(kept: JobLanes, log: JobLanes, whole_after: int, days_after: int) -> Iterator[tuple[str, Any, Any]]:
    for level, ours, theirs in zip(LEVELS, kept.levels, log.levels, strict=True):
        if (days_after and level.seconds == DAY_S) or (whole_after == 0 and ours == theirs):
            continue
        for kind in KINDS:
            saved, counted = _counts(ours, kind), _counts(theirs, kind)
            for period, bucket in sorted(saved.keys() | counted.keys()):
                one, other = saved[period, bucket], counted[period, bucket]
                is_dropped = ours.dropped is not None and period <= ours.dropped
                if one < other and not is_dropped if whole_after else one != other:
                    what = f"{KIND_NAMES[kind]} of period {period} of {level.seconds} s, bucket {bucket}"
                    yield what, one, f"at least {other}" if whole_after else other


def _counts(cells: Cells, kind: int) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for period, bucket, count in cells.within(kind):
        found[period, bucket] += count
    return found
