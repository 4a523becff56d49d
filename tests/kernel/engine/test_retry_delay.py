"""The delay of a retry stays within the calendar, whatever its policy says."""

from datetime import timedelta

import pytest

from gnomon import Duration, Retry
from gnomon.durations import LONGEST_DELAY
from gnomon.engine.retries import retry_delay

HUGE = Duration(days=999_999_999)


@pytest.mark.parametrize(
    ("retry", "attempt", "expected"),
    [
        (Retry(attempts=9, delay=Duration(seconds=30)), 3, timedelta(minutes=2)),
        (Retry(attempts=9, delay=Duration(seconds=30), max_delay=Duration(minutes=1)), 3, timedelta(minutes=1)),
        (Retry(attempts=9, delay=Duration(seconds=30), max_delay=Duration()), 3, timedelta()),
        (Retry(attempts=9, delay=HUGE), 1, LONGEST_DELAY),
        (Retry(attempts=9, delay=HUGE, max_delay=HUGE), 1, LONGEST_DELAY),
        (Retry(attempts=9, delay=Duration(seconds=1), backoff=1e308), 5, LONGEST_DELAY),
        (Retry(attempts=10**9), 10**9, LONGEST_DELAY),
    ],
)
def test_a_retry_delay_is_bounded(retry: Retry, attempt: int, expected: timedelta) -> None:
    assert retry_delay(retry, attempt) == expected
