"""Tables that fit: in a narrow terminal or a pipe the least important columns go, and long words are folded."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2
"""Spaces between two columns."""


class Column(msgspec.Struct, frozen=True):
    """A column: its title and the least characters that it needs. `rank` 0 always stays, the highest goes first.

    One that `holds` is never narrower than its widest cell: identities and times are not to be torn apart.
    """

    title: str
    least: int
    rank: int = 0
    holds: bool = False
    right: bool = False


def fitting(columns: Sequence[Column], width: int) -> list[int]:
    """Choose the columns, by index, that have room side by side; those of rank 0 stay whatever happens."""
    chosen = list(range(len(columns)))
    while sum(columns[i].least + GAP for i in chosen) - GAP > width:
        worst = max(chosen, key=lambda i: (columns[i].rank, i))
        if columns[worst].rank == 0:
            break
        chosen.remove(worst)
    return chosen


def print_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], console: Console | None = None
) -> None:
    """Print rows under the columns that fit."""
    console = console or Console(highlight=False)
    columns = [_as_wide_as_it_is(column, [row[i] for row in rows]) for i, column in enumerate(columns)]
    chosen = fitting(columns, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for i in chosen:
        column = columns[i]
        table.add_column(
            column.title.upper(),
            overflow="fold",
            no_wrap=column.holds,
            min_width=min(column.least, console.width),
            justify="right" if column.right else "left",
        )
    for row in rows:
        table.add_row(*(_cell(row[i]) for i in chosen))
    console.print(table)


def _as_wide_as_it_is(column: Column, cells: Sequence[str | Text]) -> Column:
    """Let a column ask for all that cannot be folded: where it is its title, or all of a column that `holds`."""
    uncut = [len(column.title), *(line.cell_len for cell in cells if column.holds for line in _cell(cell).split())]
    return msgspec.structs.replace(column, least=max(column.least, *uncut))


def _cell(value: str | Text) -> Text:
    return value if isinstance(value, Text) else Text(value)  # never markup: a job may be called [bold]
