"""Tables that fit: in a narrow terminal the least important columns go, and long words are folded.

In a pipe there is all of it, each row in one line, for whoever searches or sorts them; $COLUMNS sets a width there too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2
"""Spaces between two columns."""
UNBOUNDED = 100_000
"""Characters of a line where nothing bounds it: more than any has."""


class Column(msgspec.Struct, frozen=True):
    """A column: its title and the least characters that it needs. `rank` 0 always stays, the highest goes first.

    One that `holds` is never narrower than its widest cell: identities and times are not to be torn apart.
    """

    title: str
    least: int
    rank: int = 0
    holds: bool = False
    right: bool = False


def output() -> Console:
    """Write to stdout, as wide as the terminal or $COLUMNS; where there is neither, as wide as it takes."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = UNBOUNDED
    return console


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
    console = console or output()
    wide = [_widest(row[i] for row in rows) for i in range(len(columns))]
    columns = [_holding(column, width) for column, width in zip(columns, wide, strict=True)]
    chosen = fitting(columns, console.width)
    widths = _shared_out([columns[i] for i in chosen], [wide[i] for i in chosen], console.width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for i, width in zip(chosen, widths, strict=True):
        column = columns[i]
        table.add_column(
            column.title.upper(),
            overflow="fold",
            no_wrap=column.holds,
            width=width,
            justify="right" if column.right else "left",
        )
    for row in rows:
        table.add_row(*(_cell(row[i]) for i in chosen))
    console.print(table)


def _widest(cells: Iterable[str | Text]) -> int:
    return max((line.cell_len for cell in cells for line in _cell(cell).split()), default=0)


def _holding(column: Column, widest: int) -> Column:
    """Let a column ask for all that cannot be folded: its title, and everything in one that `holds`."""
    return msgspec.structs.replace(column, least=max(column.least, len(column.title), widest if column.holds else 0))


def _shared_out(columns: Sequence[Column], wide: Sequence[int], room: int) -> list[int]:
    """Give each column what it could use, then take from the widest until all fit, but never below its least.

    Rich would do so, but adds what it took below a least afterwards, and then cuts off the ends of lines.
    """
    widths = [min(max(column.least, width), room) for column, width in zip(columns, wide, strict=True)]
    while sum(widths) + GAP * (len(widths) - 1) > room:
        spare = [i for i, column in enumerate(columns) if widths[i] > column.least]
        if not spare:
            break
        widths[max(spare, key=widths.__getitem__)] -= 1
    return widths


def _cell(value: str | Text) -> Text:
    return value if isinstance(value, Text) else Text(value)  # never markup: a job may be called [bold]
