"""Tables that fit the terminal: narrow ones drop the least important columns and wrap long words.

In a pipe all columns are printed, one line for each row, so that rows can be searched and sorted; $COLUMNS sets a width
there too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gnomon.cli.output.console import make_console
from gnomon.text import visible

GAP = 2
"""Spaces between two columns."""
UNLIMITED = 100_000
"""Width where nothing limits a line: more characters than any row has."""


class Column(msgspec.Struct, frozen=True):
    """A column: its title and minimum width. The column with the highest `rank` is dropped first, rank 0 never.

    With `no_wrap` it is never narrower than its widest cell, for ids and times that must stay in one piece.
    """

    title: str
    min_width: int
    rank: int = 0
    no_wrap: bool = False
    right: bool = False


def output() -> Console:
    """Return a console on stdout, as wide as the terminal or $COLUMNS; without either its width is unlimited."""
    console = make_console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = UNLIMITED
    return console


def fitting_columns(columns: Sequence[Column], width: int) -> list[int]:
    """Return the indexes of the columns that fit side by side; columns of rank 0 always stay."""
    chosen = list(range(len(columns)))
    while sum(columns[i].min_width + GAP for i in chosen) - GAP > width:
        worst = max(chosen, key=lambda i: (columns[i].rank, i))
        if columns[worst].rank == 0:
            break
        chosen.remove(worst)
    return chosen


def print_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], console: Console | None = None
) -> None:
    """Print rows with the columns that fit."""
    console = console or output()
    widest = [_widest(row[i] for row in rows) for i in range(len(columns))]
    columns = [_with_content_width(column, width) for column, width in zip(columns, widest, strict=True)]
    chosen = fitting_columns(columns, console.width)
    widths = _distribute([columns[i] for i in chosen], [widest[i] for i in chosen], console.width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for i, width in zip(chosen, widths, strict=True):
        column = columns[i]
        table.add_column(
            column.title.upper(),
            overflow="fold",
            no_wrap=column.no_wrap,
            width=width,
            justify="right" if column.right else "left",
        )
    for row in rows:
        table.add_row(*(_cell(row[i]) for i in chosen))
    console.print(table)


def _widest(cells: Iterable[str | Text]) -> int:
    return max((line.cell_len for cell in cells for line in _cell(cell).split()), default=0)


def _with_content_width(column: Column, widest: int) -> Column:
    """Raise the minimum width to what cannot be wrapped: the title, and every cell of a `no_wrap` column."""
    content = widest if column.no_wrap else 0
    return msgspec.structs.replace(column, min_width=max(column.min_width, len(column.title), content))


def _distribute(columns: Sequence[Column], widest: Sequence[int], room: int) -> list[int]:
    """Return widths that fit: each column gets what its cells need, then the widest shrink, down to the minimum.

    Rich shrinks below the minimum, adds the difference again, and then cuts off the ends of lines.
    """
    widths = [min(max(column.min_width, width), room) for column, width in zip(columns, widest, strict=True)]
    while sum(widths) + GAP * (len(widths) - 1) > room:
        spare = [i for i, column in enumerate(columns) if widths[i] > column.min_width]
        if not spare:
            break
        widths[max(spare, key=widths.__getitem__)] -= 1
    return widths


def _cell(value: str | Text) -> Text:
    # Never markup: a job may be called [bold].
    return value if isinstance(value, Text) else Text(visible(value, lines=True))
