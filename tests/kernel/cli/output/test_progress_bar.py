"""The text beside the progress bar."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gnomon.cli.output.progress_bar import progress_text
from gnomon.domain.progress import ProgressView, Timing, estimate

AT = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
RUN = "6a6d4b00aabbccddeeff0011"


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (ProgressView(), "3.0 s"),
        (ProgressView(percent=50.0), "50 %  3.0 s, about 3.0 s left"),
        (
            ProgressView(step="store", message="row 7", processed_items=7, total_items=20),
            "store: row 7 (7/20)  3.0 s",
        ),
    ],
)
def test_the_text_beside_the_bar_shows_what_is_known(view: ProgressView, expected: str) -> None:
    assert progress_text(view, estimate(view, 3.0)) == expected


def test_past_runs_give_the_remaining_time_that_the_run_does_not() -> None:
    assert progress_text(ProgressView(), Timing(3.0, 10.0, 7.0)) == "3.0 s, about 7.0 s left"
