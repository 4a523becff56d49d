"""Times and durations as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gnomon.text import close_match, length, moment

AT = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
RUN = "6a6d4b00aabbccddeeff0011"


@pytest.mark.parametrize(
    ("at", "zone", "expected"),
    [
        (AT, SHANGHAI, "2026-12-01 18:00 +08"),
        (AT, ZoneInfo("UTC"), "2026-12-01 10:00 UTC"),
        (AT, ZoneInfo("Asia/Kolkata"), "2026-12-01 15:30 +05:30"),
        (AT, ZoneInfo("America/St_Johns"), "2026-12-01 06:30 -03:30"),
        (AT, ZoneInfo("Europe/London"), "2026-12-01 10:00 +00"),
        (AT + timedelta(seconds=7), SHANGHAI, "2026-12-01 18:00:07 +08"),
        (None, SHANGHAI, "-"),
    ],
)
def test_a_time_is_written_in_its_zone_with_the_offset(at: datetime | None, zone: ZoneInfo, expected: str) -> None:
    assert moment(at, zone) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "-"),
        (0.0034, "3 ms"),
        (1.24, "1.2 s"),
        (59.96, "1 m 00 s"),
        (303, "5 m 03 s"),
        (7500, "2 h 05 m"),
        (273_600, "3 d 4 h"),
        (1e300, "over 100 years"),
        (float("inf"), "over 100 years"),
    ],
)
def test_a_duration_is_written_with_its_two_largest_units(seconds: float | None, expected: str) -> None:
    assert length(seconds) == expected


@pytest.mark.parametrize("word", [1, None, "x" * 1_000_000])
def test_what_is_no_word_is_similar_to_nothing(word: Any) -> None:
    assert close_match(word, ["every", "cron"]) == ""
