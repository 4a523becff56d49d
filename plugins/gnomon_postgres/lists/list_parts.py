"""Which partitions a page of a list is read from: the newest ones, until the page is full.

A list by time reads some partitions with one statement, which merges their indexes, and is complete when all rows of
the other partitions are older than the last row of the page. If it is not, further ones are read. `counts` says
beforehand how many rows each has, unless the list also asks for what is not counted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from gnomon.domain.records import ExecutionQuery
from gnomon.stores.page_cursor import Cursor
from gnomon_postgres.schema.partitions import Span
from gnomon_postgres.server import Connection

MOST_AT_ONCE: Final = 32
"""Partitions that are read before their locks are released."""
Sizes = Mapping[int, int]
"""How many rows of a list there are in each partition, by its first position."""


def in_time(spans: Iterable[Span], query: ExecutionQuery) -> list[Span]:
    """Return the partitions that may have rows within the times of a list."""
    return [
        span
        for span in spans
        if (query.since is None or span.newest >= query.since) and (query.until is None or span.oldest < query.until)
    ]


def is_within(span: Span, query: ExecutionQuery) -> bool:
    """Return whether all rows of a partition are within the times of a list."""
    return (query.since is None or span.oldest >= query.since) and (query.until is None or span.newest < query.until)


def behind(spans: Iterable[Span], start: Cursor | None, *, descending: bool) -> list[Span]:
    """Return the partitions that may have rows after the cursor of a list by time, in the order of the list."""
    if descending:
        kept = [span for span in spans if start is None or span.oldest <= start.timestamp]
        return sorted(kept, key=lambda span: span.newest, reverse=True)
    kept = [span for span in spans if start is None or span.newest >= start.timestamp]
    return sorted(kept, key=lambda span: span.oldest)


def sufficient(spans: Sequence[Span], sizes: Sizes | None, wanted: int) -> int:
    """Return how many partitions from the beginning have the wanted rows; 1 where their numbers are not known."""
    number, known = 1, 0
    if sizes is not None:
        for number, span in enumerate(spans, 1):  # noqa: B007 - it is used below
            known += sizes.get(span.first, 0)
            if known >= wanted:
                break
    return number


async def portions(
    connection: Connection, spans: Sequence[Span], number: int = MOST_AT_ONCE
) -> AsyncGenerator[list[Span], None]:
    """Yield partitions from the beginning: `number` at first, then twice as many, and MOST_AT_ONCE at most; [] of none.

    The locks of what is read of them are released before the next ones: a server has room for some thousand locks, and
    a partition takes one for each of its tables and indexes. To be closed where it is not read to the end.
    """
    rest = list(spans)
    while True:
        number = min(number, MOST_AT_ONCE)
        some, rest = rest[:number], rest[number:]
        if not rest:
            yield some
            return
        async with connection.releasing():
            yield some
        number *= 2


def is_complete(rest: Iterable[Span], last: datetime, *, descending: bool) -> bool:
    """Return whether all rows of the other partitions come after the last row of a page."""
    if descending:
        return all(span.newest < last for span in rest)
    return all(span.oldest > last for span in rest)
