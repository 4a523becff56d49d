"""The text beside the progress bar."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gnomon.cli.output.progress_bar import progress_text
from gnomon.domain.estimates import Timing
from gnomon.domain.eta import Eta, estimate_rest
from gnomon.domain.progress import ProgressView

AT = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
RUN = "6a6d4b00aabbccddeeff0011"


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (ProgressView(), "3.0 s"),
        (ProgressView(percent=50.0), "50 %  3.0 s, 2 to 4 s left"),
        (
            ProgressView(step="store", message="row 7", processed_items=7, total_items=20),
            "store: row 7 (7/20)  3.0 s",
        ),
    ],
)
def test_the_text_beside_the_bar_shows_what_is_known(view: ProgressView, expected: str) -> None:
    eta = estimate_rest(view, 3.0, [], AT)
    assert progress_text(view, Timing(3.0, None, eta.middle if eta is not None else None, eta)) == expected


def test_past_runs_give_the_remaining_time_that_the_run_does_not() -> None:
    assert progress_text(ProgressView(), Timing(3.0, 10.0, 7.0)) == "3.0 s, about 7.0 s left"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (116, 208, "2 to 3 m left"),
        (40.4, 54.6, "40 to 55 s left"),
        (0.0, 0.2, "0 to 1 s left"),
        (170, 190, "about 3 m left"),
        (5_000, 9_000, "1 to 2 h left"),
        (3_600 * 40, 3_600 * 70, "2 to 3 d left"),
    ],
)
def test_a_range_is_rounded_as_people_would(low: float, high: float, expected: str) -> None:
    eta = Eta(low=low, high=high, basis="past", at=AT)

    assert progress_text(ProgressView(), Timing(3.0, None, eta.middle, eta)) == f"3.0 s, {expected}"
