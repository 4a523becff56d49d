"""Moments in text: relative to now, or a time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.durations import Duration
from gnomon.moments import RELATIVE, parse_moment, relative_moment

NOW = datetime(2026, 11, 28, 3, 14, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "hours"),
    [("now", 0), ("-2h", -2), ("+90m", 1.5), (" 90m", 1.5), ("-1d 12h", -36), ("-1.5h", -1.5), ("-1w", -168)],
)
def test_a_relative_moment_counts_from_now(text: str, hours: float) -> None:
    assert relative_moment(text, NOW) == parse_moment(text, NOW, UTC) == NOW + timedelta(hours=hours)


def test_a_time_is_not_relative() -> None:
    assert relative_moment("2026-11-27T20:00:00+08:00", NOW) is None
    assert relative_moment("7d", NOW) is None  # which says no direction
    assert parse_moment("2026-11-27T20:00:00+08:00", NOW, UTC) == datetime(2026, 11, 27, 12, tzinfo=UTC)
    assert parse_moment("2026-11-27T20:00", NOW, ZoneInfo("Asia/Shanghai")) == datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["-", "-7", "-7 years", "--7d", "-now", "yesterday", ""])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a duration|isoformat"):
        parse_moment(text, NOW, UTC)


@pytest.mark.parametrize("text", ["-999999d", "+9999999d", "+9999999999d"])
def test_a_moment_outside_of_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"the calendar does not reach|from 0 to"):
        relative_moment(text, NOW)


@given(st.timedeltas(timedelta(0), timedelta(days=3000)), st.sampled_from("+-"))
def test_what_clients_are_told_to_send_is_understood(length: timedelta, sign: str) -> None:
    rounded = timedelta(seconds=length.total_seconds() // 1)
    parts = str(Duration.parse(rounded)).split()[:3]
    text = sign + "".join(parts)

    assert re.fullmatch(RELATIVE, text)
    moved = relative_moment(text, NOW)
    assert moved is not None
    assert abs(moved - NOW) == Duration.parse(" ".join(parts))
