"""The order of a list of executions in SQL, and where a page of it starts."""

from __future__ import annotations

from gnomon.domain.run_sorting import RunSort
from gnomon.stores.list_filters import SORT_COLUMNS
from gnomon.stores.microseconds import to_micros
from gnomon.stores.page_cursor import Cursor
from gnomon_sqlite.lists.list_conditions import Part


class ListOrder:
    """The order that a `sort` stands for, as in `gnomon.domain.run_sorting`."""

    def __init__(self, sort: RunSort) -> None:
        self._sort = sort
        self._column = SORT_COLUMNS.get(sort.key)

    def columns(self, part: Part) -> str:
        """Return what a part of the list selects besides, for `terms`."""
        value = self._value(part)
        return f", {value} AS value, {value} IS NULL AS missing" if value is not None else ""

    def _value(self, part: Part) -> str | None:
        is_flushed = part[0].startswith("executions ")
        return "NULL" if self._column == "progress" and is_flushed else self._column

    @property
    def terms(self) -> str:
        """The terms of ORDER BY."""
        direction = "DESC" if self._sort.descending else "ASC"
        if self._column is None:
            return f"timestamp {direction}, id {direction}"
        return f"missing, value {direction}, timestamp DESC, id DESC"

    def after(self, part: Part, start: Cursor | None) -> Part:
        """Leave out of a part what the pages before the cursor have."""
        if start is None:
            return part
        sql, parameters = part
        place = [to_micros(start.timestamp), start.id]
        older = "(timestamp, id) < (?, ?)"
        if self._column is None:
            behind = older if self._sort.descending else "(timestamp, id) > (?, ?)"
            return f"{sql} AND {behind}", [*parameters, *place]
        value = self._value(part)
        if start.value is None:
            return f"{sql} AND {value} IS NULL AND {older}", [*parameters, *place]
        beyond = f"{value} {'<' if self._sort.descending else '>'} ?"
        condition = f"({value} IS NULL OR {beyond} OR ({value} = ? AND {older}))"
        return f"{sql} AND {condition}", [*parameters, start.value, start.value, *place]
