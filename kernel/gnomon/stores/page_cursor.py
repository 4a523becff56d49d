"""The cursor of a page of executions: where its last row is in the list, as opaque text that a client hands back."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import NamedTuple

from gnomon.domain.execution import Execution
from gnomon.domain.run_sorting import NEWEST_FIRST, RunSort, SortValue, sort_value
from gnomon.stores.microseconds import from_micros, to_micros


class Cursor(NamedTuple):
    """The next page starts after this execution; the id breaks ties between equal timestamps.

    `value` is what the execution is sorted by, in a list with a `sort` other than the usual one.
    """

    timestamp: datetime
    id: str
    sort: RunSort = NEWEST_FIRST
    value: SortValue = None

    def is_before(self, view: Execution) -> bool:
        """Return whether an execution comes after this place of the list."""
        place, own = (view.timestamp, view.id), (self.timestamp, self.id)
        if self.sort.key == "started":
            return place < own if self.sort.descending else place > own
        value = sort_value(view, self.sort.key)
        if value == self.value:
            return place < own
        if value is None or self.value is None:
            return value is None
        return value < self.value if self.sort.descending else value > self.value  # type: ignore[operator]  # of one kind


def cursor_of(view: Execution, sort: RunSort) -> Cursor:
    """Return the cursor of the page that ends with this execution."""
    return Cursor(view.timestamp, view.id, sort, sort_value(view, sort.key))


def write_cursor(cursor: Cursor) -> str:
    """Return a cursor as text that is safe in a URL."""
    micros = to_micros(cursor.timestamp)
    if cursor.sort == NEWEST_FIRST:
        text = f"{micros}:{cursor.id}"
    else:
        text = json.dumps([str(cursor.sort), cursor.value, micros, cursor.id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(text: str, sort: RunSort = NEWEST_FIRST) -> Cursor:
    """Parse the text that `write_cursor` returned for a list with this order; ValueError for anything else."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        cursor = _parsed(base64.b64decode(padded, altchars=b"-_", validate=True).decode(), sort)
    except (UnicodeError, binascii.Error, ValueError, TypeError, OverflowError, RecursionError) as exc:
        raise _invalid(text) from exc
    if write_cursor(cursor) != text:
        raise _invalid(text)
    return cursor


def _parsed(text: str, sort: RunSort) -> Cursor:
    if sort == NEWEST_FIRST:
        micros, _, execution_id = text.partition(":")
        return Cursor(from_micros(int(micros)), execution_id)
    _, value, at, execution_id = json.loads(text)
    is_text = sort.key in {"job", "status", "by"}
    if not (value is None or isinstance(value, str if is_text else int | float)) or not isinstance(execution_id, str):
        raise ValueError("a value of another kind than that of this order")
    return Cursor(from_micros(int(at)), execution_id, sort, value)


def _invalid(text: str) -> ValueError:
    return ValueError(
        f"{text!r} is not a valid cursor of this list: pass the `next` of the previous page unchanged, with its `sort`"
    )
