"""Durations in buckets that grow by a factor, so that percentiles of millions of runs need a few hundred numbers.

As in DDSketch (Masson, Rim, Lee: "DDSketch", VLDB 2019): bucket i holds the durations d with G^(i-1) < d <= G^i and
stands for the value in its middle, which differs by at most ERROR from every duration in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

ERROR = 0.02
"""The largest relative error of a percentile. A year and a microsecond are about 780 buckets apart."""
_GROWTH = math.log((1 + ERROR) / (1 - ERROR))


def bucket_of(micros: int) -> int:
    """Return the bucket of a duration in µs; durations up to 1 µs are in bucket 0."""
    return math.ceil(math.log(micros) / _GROWTH) if micros > 1 else 0


def middle_of(bucket: int) -> float:
    """Return the duration in µs that represents a bucket."""
    return (1 - ERROR) * math.exp(bucket * _GROWTH) if bucket > 0 else 1.0


def percentile(
    buckets: Mapping[int, int],
    share: float,
    extremes: tuple[int, int] | None = None,
    middle: Callable[[int], float] = middle_of,
) -> float | None:
    """Return the duration in µs below which this share of all durations lies; None without any.

    It is interpolated between the two nearest durations in order. The first and the last one are known exactly if the
    `extremes` are given; the others are those that represent their buckets, within the extremes. So it lies within the
    durations that were seen, and differs by at most ERROR from the percentile of the durations themselves. Buckets of
    another width have another `middle`.
    """
    count = sum(buckets.values())
    if not count:
        return None
    rank = share * (count - 1)
    below = _ordered(buckets, math.floor(rank), count, extremes, middle)
    above = _ordered(buckets, math.ceil(rank), count, extremes, middle)
    return min(below + (above - below) * (rank - math.floor(rank)), above)  # rounding must not exceed it


def _ordered(
    buckets: Mapping[int, int],
    number: int,
    count: int,
    extremes: tuple[int, int] | None,
    middle_of_bucket: Callable[[int], float],
) -> float:
    """Return the duration with a number, from 0, in order of duration."""
    if extremes is not None and number in {0, count - 1}:
        return extremes[0] if number == 0 else extremes[1]
    before = 0
    for bucket in sorted(buckets):
        before += buckets[bucket]
        if number < before:
            break
    middle = middle_of_bucket(bucket)
    return middle if extremes is None else min(max(middle, extremes[0]), extremes[1])
