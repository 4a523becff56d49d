"""Durations in buckets that grow by a factor, so that percentiles of millions of runs need a few hundred numbers.

As in DDSketch (Masson, Rim, Lee: "DDSketch", VLDB 2019): bucket i holds the durations d with G^(i-1) < d <= G^i and
stands for the value in its middle, which differs by at most ERROR from every duration in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

ERROR = 0.02
"""The largest relative error of a percentile. A year and a microsecond are about 780 buckets apart."""
_GROWTH = math.log((1 + ERROR) / (1 - ERROR))


def bucket_of(micros: int) -> int:
    """Return the bucket of a duration in µs; durations up to 1 µs are in bucket 0."""
    return math.ceil(math.log(micros) / _GROWTH) if micros > 1 else 0


def middle_of(bucket: int) -> float:
    """Return the duration in µs that represents a bucket."""
    return (1 - ERROR) * math.exp(bucket * _GROWTH) if bucket > 0 else 1.0


def percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """Return the duration in µs that this share of all durations does not exceed (nearest rank); None without any."""
    rank = math.ceil(share * sum(buckets.values()))
    for bucket in sorted(buckets):
        rank -= buckets[bucket]
        if rank <= 0:
            return middle_of(bucket)
    return None
