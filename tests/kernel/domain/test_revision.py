"""How revisions are written, and in which order they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from gnomon.domain.revision import Revision

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
RISING = [0, "9", 10, "1764417599", "2026-11-29T13:00:00+01:00", "2026-11-29T12:00:00.5Z", NOON + timedelta(seconds=1)]


def test_numbers_and_times_are_in_one_order() -> None:
    revisions = [Revision.parse(value) for value in RISING]

    assert sorted(revisions) == revisions
    assert len(set(revisions)) == len(revisions)


def test_versions_are_compared_by_their_numbers() -> None:
    written = ["2.4", "v2.4.1", "2.9", "2.10", "2.10.0.1", "3"]

    assert sorted(map(Revision.parse, reversed(written))) == [*map(Revision.parse, written)]
    assert Revision.parse("2.4") == Revision.parse("v2.4.0")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (42, " 42 "),
        (NOON, "2026-11-29T12:00:00Z"),
        (NOON.astimezone(timezone(timedelta(hours=8))), int(NOON.timestamp())),
    ],
)
def test_one_revision_may_be_written_in_several_ways(one: object, other: object) -> None:
    assert Revision.parse(one) == Revision.parse(other)
    assert Revision.parse(str(Revision.parse(one))) == Revision.parse(one)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("4c1f2e9", "take the number of the build or the time of the commit, not its hash"),
        ("2.4.1-rc1", "revisions must have an order"),
        ("", "expected a whole number"),
        (2.10, "write versions in quotes: 2.10 is the number 2.1"),
        (True, "expected a whole number"),
        (-1, "expected a whole number"),
        ("1" * 31, "expected a whole number"),
        (NOON.replace(tzinfo=None), "expected a time with a time zone"),
        ("2026-11-29", "expected a time with a time zone"),
    ],
)
def test_what_has_no_order_is_refused(value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Revision.parse(value)
