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


def exact_percentile(durations: list[int], share: float) -> int:
    """Return the nearest rank."""
    return sorted(durations)[max(math.ceil(share * len(durations)) - 1, 0)]


@given(st.integers(1, YEAR))
def test_the_middle_of_a_bucket_is_within_the_stated_error(micros: int) -> None:
    assert abs(middle_of(bucket_of(micros)) - micros) <= micros * (ERROR + 1e-9)


@given(st.lists(st.integers(1, YEAR), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_percentile_is_within_the_stated_error(durations: list[int], share: float) -> None:
    found, exact = percentile(counted(durations), share), exact_percentile(durations, share)

    assert found is not None
    assert abs(found - exact) <= exact * (ERROR + 1e-9)


def test_percentiles_of_many_runs_are_accurate_and_need_few_buckets() -> None:
    order = random.Random(5)
    durations = [round(order.lognormvariate(15, 2)) for _ in range(50_000)]

    buckets = counted(durations)

    for share in (0.5, 0.95, 0.99):
        assert percentile(buckets, share) == pytest.approx(exact_percentile(durations, share), rel=ERROR + 1e-9)
    assert len(buckets) < 500


def test_a_year_and_a_microsecond_are_some_780_buckets_apart() -> None:
    assert bucket_of(0) == bucket_of(1) == 0
    assert bucket_of(YEAR) == 778


def test_without_durations_there_is_no_percentile() -> None:
    assert percentile({}, 0.5) is None
