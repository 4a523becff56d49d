"""Takes single events out of the rows of the log, which keep their places; the newest row stays in any case."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from gnomon.stores import commit_rows
from gnomon_postgres.log import event_chains, event_reads
from gnomon_postgres.server import Connection, Row

_ROWS = f"SELECT {event_reads.COLUMNS} FROM {{schema}}.commits WHERE first = ANY(%s::bigint[])"  # noqa: S608 - our own names
_CHANGE = "UPDATE {schema}.commits SET previous = %s, events = %s, checksum = %s WHERE first = %s"
_DELETE = "DELETE FROM {schema}.commits WHERE first = ANY(%s::bigint[])"
_NOT_LASTING = "DELETE FROM {schema}.lasting WHERE first = ANY(%s::bigint[])"
_NO_ACTS = "DELETE FROM {schema}.acts WHERE position = ANY(%s::bigint[])"

_encode = msgspec.json.Encoder().encode


async def forget(connection: Connection, places: Iterable[tuple[int, int]]) -> None:
    """Delete events, given by their positions and the `first` of their rows, with the acts that they record."""
    by_row = event_chains.by_row(places)
    if not by_row:
        return
    await connection.execute(_NO_ACTS, ([first + index for first, some in by_row.items() for index in some],))
    newest = await event_reads.newest_row(connection)
    empty: list[int] = []
    for row in await read_rows(connection, by_row):
        body, is_left = commit_rows.without(event_reads.checked(row), by_row[row[0]])
        if is_left or (newest is not None and row[0] == newest[1]):
            await change_row(connection, row, body, row[5])
        else:
            empty.append(row[0])
    await connection.execute(_DELETE, (empty,))
    await connection.execute(_NOT_LASTING, (empty,))


async def change_row(connection: Connection, row: Row, body: bytes, links: bytes) -> None:
    """Write other events and links into a row that was read with COLUMNS."""
    await connection.execute(_CHANGE, (links, body, commit_rows.checksum_of(row[:5], links, body), row[0]))


async def read_rows(connection: Connection, firsts: Collection[int]) -> list[Row]:
    """Return rows by their first positions, with COLUMNS."""
    return await connection.fetch(_ROWS, (list(firsts),)) if firsts else []


async def thin_out(
    connection: Connection,
    rows: Iterable[Row],
    chains: Collection[Sequence[tuple[int, int]]],
    is_kept: Mapping[int, bool],
) -> None:
    """Delete some events of streams, and link the others; a chain has all events of a stream, newest first."""
    gone: list[tuple[int, int]] = []
    links: dict[int, int] = {}
    for chain in chains:
        kept = [position for position, _ in chain if is_kept[position]]
        links.update(zip(kept, [*kept[1:], 0], strict=True))
        gone += [place for place in chain if not is_kept[place[0]]]
    by_row = event_chains.by_row(gone)
    for row in rows:
        first, previous = row[0], commit_rows.links_of(row[5])
        changed = [links.get(first + index, link) for index, link in enumerate(previous)]
        if first in by_row:
            body, _ = commit_rows.without(event_reads.checked(row), by_row[first])
            await change_row(connection, row, body, _encode(changed))
        elif changed != previous:
            await change_row(connection, row, event_reads.checked(row), _encode(changed))
