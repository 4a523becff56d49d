"""Tables fit the terminal."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from gnomon.cli.output.tables import Column, fitting_columns, print_table

AT = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
RUN = "6a6d4b00aabbccddeeff0011"


def printed(width: int, *columns: Column, rows: list[list[str]]) -> list[str]:
    out = io.StringIO()
    print_table(columns, rows, Console(file=out, width=width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_least_important_columns_are_dropped_first() -> None:
    columns = [Column("id", 10), Column("what", 10, 2), Column("took", 10, 1)]

    assert fitting_columns(columns, 34) == [0, 1, 2]
    assert fitting_columns(columns, 33) == [0, 2]
    assert fitting_columns(columns, 21) == [0]
    assert fitting_columns(columns, 3) == [0]


def test_long_words_are_wrapped_and_never_cut() -> None:
    lines = printed(20, Column("id", 4), Column("job", 8), rows=[["abcd", "x" * 30]])

    assert "".join(line[6:].strip() for line in lines[1:]) == "x" * 30
    assert max(map(len, lines)) <= 20


def test_a_no_wrap_column_stays_whole_while_another_can_be_dropped() -> None:
    columns = [Column("job", 4), Column("next fire", 4, no_wrap=True), Column("running", 3, 1)]

    lines = printed(36, *columns, rows=[["tick", "2026-11-25 14:16 UTC\n2026-11-25 14:16:40 UTC", "-"]])

    assert lines == ["JOB   NEXT FIRE", "tick  2026-11-25 14:16 UTC", "      2026-11-25 14:16:40 UTC"]


@pytest.mark.parametrize("width", range(50, 120))
def test_a_table_cuts_off_nothing_at_any_width(width: int) -> None:
    columns = [Column("job", 12), Column("schedule", 12), Column("next", 4, no_wrap=True), Column("policies", 10)]
    row = [
        "mongo.progress_retention",
        "At 03:15 every day (UTC)",
        "03:15 UTC",
        "retry = attempts 3, delay 1m\nrunner = x",
    ]

    lines = printed(width, *columns, rows=[row])

    assert max(map(len, lines)) <= width
    shown = "".join("".join(lines).split())
    assert sorted(shown) == sorted(
        "".join([*(column.title.upper() for column in columns), *row]).replace(" ", "").replace("\n", "")
    )


def test_names_are_not_read_as_markup() -> None:
    assert printed(40, Column("job", 8), rows=[["[bold]a[/bold]"]])[1] == "[bold]a[/bold]"
