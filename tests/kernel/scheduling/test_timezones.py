from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gnomon.scheduling.timezones import change_at, changes_between, instants


def wall(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("zone", "year", "expected"),
    [
        ("Europe/Berlin", 2026, ["gap 2026-03-29T02:00 2026-03-29T03:00", "repeat 2026-10-25T02:00 2026-10-25T03:00"]),
        (
            "America/New_York",
            2026,
            ["gap 2026-03-08T02:00 2026-03-08T03:00", "repeat 2026-11-01T01:00 2026-11-01T02:00"],
        ),
        (
            "Australia/Lord_Howe",
            2026,
            ["repeat 2026-04-05T01:30 2026-04-05T02:00", "gap 2026-10-04T02:00 2026-10-04T02:30"],
        ),
        (
            "America/Sao_Paulo",
            2018,
            ["repeat 2018-02-17T23:00 2018-02-18T00:00", "gap 2018-11-04T00:00 2018-11-04T01:00"],
        ),
        ("Asia/Shanghai", 2026, []),
    ],
)
def test_the_changes_of_a_year_are_gaps_and_repeats(zone: str, year: int, expected: list[str]) -> None:
    found = changes_between(ZoneInfo(zone), datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))

    assert [f"{c.kind} {c.first:%Y-%m-%dT%H:%M} {c.last:%Y-%m-%dT%H:%M}" for c in found] == expected


def test_a_change_is_told_with_the_day_the_times_and_the_offsets() -> None:
    forward, back = (change_at(ZoneInfo("Europe/Berlin"), wall(at)) for at in ("2026-03-29T02:00", "2026-10-25T02:00"))

    assert str(forward) == (
        "on 2026-03-29 the clocks of Europe/Berlin go forward from 02:00 to 03:00 (+01:00 becomes +02:00)"
    )
    assert str(back) == "on 2026-10-25 the clocks of Europe/Berlin go back from 03:00 to 02:00 (+02:00 becomes +01:00)"


@pytest.mark.parametrize(
    ("at", "count", "is_touched"),
    [
        ("2026-03-29T01:59", 1, False),
        ("2026-03-29T02:00", 0, True),
        ("2026-03-29T02:59:59", 0, True),
        ("2026-03-29T03:00", 1, False),
        ("2026-10-25T01:59", 1, False),
        ("2026-10-25T02:00", 2, True),
        ("2026-10-25T03:00", 1, False),
    ],
)
def test_a_wall_time_has_no_instant_in_a_gap_and_two_in_a_repeat(at: str, count: int, is_touched: bool) -> None:
    zone = ZoneInfo("Europe/Berlin")

    found = instants(zone, wall(at))

    assert len(found) == count
    assert all(one.astimezone(zone).replace(tzinfo=None) == wall(at) for one in found)
    assert (change_at(zone, wall(at)) is not None) == is_touched
    assert found == sorted(found)
    assert count < 2 or found[1] - found[0] == timedelta(hours=1)
