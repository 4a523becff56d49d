"""Reads the log: events after a position, those of a stream, and those of a job."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from gnomon.domain import codec
from gnomon.domain.events import Event
from gnomon.errors import StoreError
from gnomon.stores import commit_rows
from gnomon.stores.commit_rows import EVENTS_PER_ROW, End, Newest
from gnomon_postgres.log.event_chains import STRETCH, chain
from gnomon_postgres.schema.run_places import find_runs
from gnomon_postgres.schema.view_tables import shown
from gnomon_postgres.server import Connection, Row
from gnomon_shared_log.errors import Refusal

COLUMNS: Final = "first, last, earliest, latest, setback, previous, events, checksum"
"""A row as gnomon.stores.commit_rows has it."""

# The bounds of `first` are constants for the planner, so that it looks at the partitions in question alone, and locks
# no others. Of numbers that are added, one is cast: the driver sends each in the smallest type, and the sum of two may
# not fit it.
_REACHED = "SELECT filed FROM {schema}.log"
_NEWEST = f"""SELECT first, last, latest, setback, identity FROM {{schema}}.commits
    WHERE first > %s::bigint - {EVENTS_PER_ROW} ORDER BY first DESC LIMIT 1"""  # noqa: S608 - our own names
_AFTER = f"""SELECT {COLUMNS} FROM {{schema}}.commits
    WHERE first > %(after)s::bigint - {EVENTS_PER_ROW} AND last > %(after)s AND first <= %(after)s::bigint + %(limit)s
    ORDER BY first"""  # noqa: S608 - our own names
_NEXT = "SELECT first FROM {schema}.commits WHERE first > %s AND first <= %s ORDER BY first LIMIT 1"
_BETWEEN = f"SELECT {COLUMNS} FROM {{schema}}.commits WHERE first > %s AND first <= %s AND last >= %s ORDER BY first"  # noqa: S608
_OF_JOB = f"""SELECT {COLUMNS} FROM {{schema}}.commits
    WHERE latest >= %(since)s AND earliest < %(until)s AND position(%(mark)s::bytea IN events) > 0
        AND first <= coalesce(
        (SELECT first FROM {{schema}}.commits
            WHERE latest >= %(until)s::bigint + %(setback)s ORDER BY latest, first LIMIT 1),
        {2**63 - 1})
    ORDER BY first"""  # noqa: S608 - our own names
_ROWS = f"SELECT {COLUMNS} FROM {{schema}}.commits WHERE first = ANY(%s::bigint[])"  # noqa: S608 - our own names
_UNFILED = f"""SELECT {COLUMNS} FROM {{schema}}.commits WHERE first > %s AND position(%s::bytea IN events) > 0
    ORDER BY first"""  # noqa: S608 - our own names
_STREAMS = "SELECT name, version, last FROM {schema}.streams WHERE name = ANY(%s::text[])"
NO_ROW = "the table `log` is empty, which says which log this is: restore a backup of it, or of the schema"
_ADVICE = "stop the kernel, keep a copy of the database, and restore a backup"


def checked(row: Row) -> bytes:
    """Return the events of a row that was read with COLUMNS; StoreError if it is not what was written."""
    first, last, _, _, _, links, events, checksum, *_ = row
    if commit_rows.checksum_of(row[:5], links, events) != checksum:
        raise StoreError(
            f"the log is damaged: events {first:,} to {last:,} are not as written (the checksum differs); {_ADVICE}"
        )
    return bytes(events)


async def newest_row(connection: Connection) -> tuple[Newest, int, int] | None:
    """Return where the log ends, with `first` and `identity` of its newest row; None for an empty log."""
    found = await _newest(connection, await connection.fetch_one(_REACHED) or (0,))
    if found is None:  # an empty log, or one that has lost events whose views are filed
        found = await _newest(connection, (0,))
    if found is None:
        return None
    first, last, latest, setback, identity = found
    return (last, latest, setback), first, identity


async def _newest(connection: Connection, reached: Row) -> Row | None:
    return await connection.fetch_one(_NEWEST, reached)


async def head(connection: Connection) -> int:
    """Return the highest position ever assigned; the newest row stays even when all its events are deleted."""
    newest = await newest_row(connection)
    return newest[0][0] if newest is not None else 0


async def read(connection: Connection, after: int, limit: int) -> list[Event]:
    """Return up to `limit` events with positions greater than `after`."""
    found: list[Event] = []
    while (wanted := limit - len(found)) > 0:
        rows = await connection.fetch(_AFTER, {"after": after, "limit": wanted})
        for row in rows:
            found += commit_rows.events_after(checked(row), after)
        end = rows[-1][1] if rows else after
        if end < after + wanted:  # the log ends, or positions were left out
            following = await connection.fetch_one(_NEXT, (end, end + STRETCH)) or await connection.fetch_one(
                _NEXT, (end, 2**63 - 1)
            )
            if following is None:
                break
            end = following[0] - 1
        after = end
    return found[: max(limit, 0)]


async def texts(connection: Connection, first: int, last: int) -> dict[int, bytes]:
    """Return the JSON of the events from one position to another, also that of deleted ones, which is `null`."""
    found: dict[int, bytes] = {}
    for row in await connection.fetch(_BETWEEN, (first - EVENTS_PER_ROW, last, first)):
        found |= dict(enumerate(codec.split(checked(row)), row[0]))
    return {position: text for position, text in found.items() if first <= position <= last}


async def filed(connection: Connection) -> int:
    """Return the position up to which views are filed."""
    found = await connection.fetch_one("SELECT filed FROM {schema}.log")
    if found is None:
        raise Refusal(NO_ROW)
    return int(found[0])


async def event_at(connection: Connection, position: int) -> Event | None:
    """Return the event at a position; None where it was deleted, or never was."""
    found = await read(connection, position - 1, 1)
    return found[0] if found and found[0].position == position else None


async def of_job(connection: Connection, job_id: str, since: int, until: int) -> list[Event]:
    """Return the events of a job that were recorded in since <= at < until, in µs, without progress."""
    newest = await newest_row(connection)
    if newest is None:
        return []
    (_, _, setback), _, _ = newest
    mark = commit_rows.mark_of_job(job_id)
    bounds = {"since": since, "until": until, "setback": setback, "mark": mark}
    rows = await connection.fetch(_OF_JOB, bounds)
    return commit_rows.events_of_job(map(checked, rows), job_id, since, until)


async def stream(connection: Connection, name: str) -> list[Event]:
    """Return the events of one stream; called within a snapshot."""
    version, last = (await ends(connection, [name])).get(name, (0, 0))
    places = await chain(connection, last)
    rows = await connection.fetch(_ROWS, (sorted({first for _, first in places}),)) if places else []
    bodies = {row[0]: codec.split(checked(row)) for row in rows}
    texts = [bodies[first][position - first] for position, first in reversed(places)]
    found = [codec.decode(text) for text in texts if text != commit_rows.PRUNED]
    if any(event.stream != name for event in found) or (found and found[-1].version != version):
        raise StoreError(f"the log is damaged: the end of stream {name!r} is not as written; {_ADVICE}")
    return found + await unfiled_of(connection, name, version)


async def unfiled_of(connection: Connection, name: str, version: int) -> list[Event]:
    """Return the events of a stream behind this version whose views are not filed."""
    rows = await connection.fetch(_UNFILED, (await filed(connection), commit_rows.mark_of_stream(name)))
    return commit_rows.events_of_stream(map(checked, rows), name, version)


async def ends(connection: Connection, names: Collection[str]) -> dict[str, End]:
    """Return where streams end, as far as that is filed."""
    rows = await connection.fetch(_STREAMS, (list(map(shown, names)),))
    runs = set(names) - {name for name, *_ in rows}
    rows += await find_runs(connection, ("id", "version", "last"), runs)
    return {name: (version, last) for name, version, last in rows}
