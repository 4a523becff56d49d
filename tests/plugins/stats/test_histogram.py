import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon_stats.histogram import ERROR, bucket_of, middle_of, percentile

YEAR = 366 * 86400 * 10**6


def counted(durations: list[int]) -> dict[int, int]:
    buckets: dict[int, int] = {}
    for micros in durations:
        buckets[bucket_of(micros)] = buckets.get(bucket_of(micros), 0) + 1
    return buckets


def exact_percentile(durations: list[int], share: float) -> float:
    """Return the percentile by linear interpolation, as numpy and spreadsheets compute it."""
    ordered, rank = sorted(durations), share * (len(durations) - 1)
    below, above = ordered[math.floor(rank)], ordered[math.ceil(rank)]
    return below + (above - below) * (rank - math.floor(rank))


@given(st.integers(1, YEAR))
def test_the_middle_of_a_bucket_is_within_the_stated_error(micros: int) -> None:
    assert abs(middle_of(bucket_of(micros)) - micros) <= micros * (ERROR + 1e-9)


@given(st.lists(st.integers(1, YEAR), min_size=1, max_size=60), st.floats(0, 1), st.booleans())
def test_a_percentile_is_within_the_stated_error(durations: list[int], share: float, are_known: bool) -> None:
    extremes = (min(durations), max(durations)) if are_known else None
    found, exact = percentile(counted(durations), share, extremes), exact_percentile(durations, share)

    assert found is not None
    assert abs(found - exact) <= exact * (ERROR + 1e-9)


@given(st.lists(st.integers(0, YEAR), min_size=1, max_size=60), st.floats(0, 1), st.floats(0, 1))
def test_percentiles_lie_within_the_durations_and_do_not_fall(durations: list[int], one: float, other: float) -> None:
    buckets, extremes = counted(durations), (min(durations), max(durations))
    low, high = (percentile(buckets, share, extremes) for share in sorted((one, other)))

    assert low is not None
    assert high is not None
    assert extremes[0] <= low <= high <= extremes[1]


def test_the_median_of_two_durations_is_between_them() -> None:
    durations = [2_008_000, 2_012_000]

    assert percentile(counted(durations), 0.5, (2_008_000, 2_012_000)) == 2_010_000
    assert percentile(counted([17]), 0.95, (17, 17)) == 17


def test_percentiles_of_many_runs_are_accurate_and_need_few_buckets() -> None:
    order = random.Random(5)
    durations = [round(order.lognormvariate(15, 2)) for _ in range(50_000)]

    buckets, extremes = counted(durations), (min(durations), max(durations))

    for share in (0.5, 0.95, 0.99):
        assert percentile(buckets, share, extremes) == pytest.approx(
            exact_percentile(durations, share), rel=ERROR + 1e-9
        )
    assert len(buckets) < 500


def test_a_year_and_a_microsecond_are_some_780_buckets_apart() -> None:
    assert bucket_of(0) == bucket_of(1) == 0
    assert bucket_of(YEAR) == 778


def test_without_durations_there_is_no_percentile() -> None:
    assert percentile({}, 0.5) is None
