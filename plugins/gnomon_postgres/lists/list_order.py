"""The order of a list of executions in SQL, and where a page of it starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gnomon.domain.run_sorting import RunSort
from gnomon.stores.list_filters import SORT_COLUMNS
from gnomon.stores.page_cursor import Cursor
from gnomon_postgres.lists.list_conditions import Condition
from gnomon_postgres.schema.view_tables import indexed, shown
from gnomon_postgres.server import Row


class ListOrder:
    """The order that a `sort` stands for, as in `gnomon.domain.run_sorting`."""

    def __init__(self, sort: RunSort) -> None:
        self._sort = sort
        self._column = SORT_COLUMNS.get(sort.key)

    @property
    def is_by_time(self) -> bool:
        """Whether rows are sorted by their timestamp alone, in which order an index has them."""
        return self._column is None

    def value(self, *, is_live: bool) -> str:
        """Return the expression of what rows are sorted by."""
        if self._column == "progress" and not is_live:
            return "NULL::double precision"
        return self._column or "NULL::double precision"

    @property
    def terms(self) -> str:
        """The terms of ORDER BY; `value` is the expression."""
        direction = "DESC" if self._sort.descending else "ASC"
        if self._column is None:
            return f"timestamp {direction}, id {direction}"
        return f"value {direction} NULLS LAST, timestamp DESC, id DESC"

    def merged(self, rows: Sequence[Row]) -> list[Row]:
        """Return rows in this order; each begins with its timestamp, its id, and what it is sorted by otherwise."""
        if self.is_by_time:
            return sorted(rows, key=_place, reverse=self._sort.descending)
        newest_first = sorted(rows, key=_place, reverse=True)
        valued = [row for row in newest_first if row[2] is not None]
        valued.sort(key=lambda row: row[2], reverse=self._sort.descending)  # equal ones stay as they are
        return valued + [row for row in newest_first if row[2] is None]

    def after(self, start: Cursor | None, *, is_live: bool) -> Condition:
        """Return the condition that a row is not on the pages before the cursor."""
        if start is None:
            return Condition()
        place = (start.timestamp, shown(start.id))
        older = Condition("(timestamp, id) < (%s, %s)", place)
        if self._column is None:
            return older if self._sort.descending else Condition("(timestamp, id) > (%s, %s)", place)
        value = self.value(is_live=is_live)
        if start.value is None:
            return Condition(f"{value} IS NULL") & older
        bound = indexed(start.value) if isinstance(start.value, str) else start.value
        beyond = f"{value} {'<' if self._sort.descending else '>'} %s"
        sql = f"({value} IS NULL OR {beyond} OR ({value} = %s AND {older.sql}))"
        return Condition(sql, (bound, bound, *place))


def _place(row: Row) -> tuple[Any, ...]:
    return row[:2]
