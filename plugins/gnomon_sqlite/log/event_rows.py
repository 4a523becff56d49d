"""The log itself: the table of the rows that gnomon.stores.commit_rows makes."""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from gnomon.domain import codec
from gnomon.domain.events import Event
from gnomon.errors import StoreError
from gnomon.stores.commit_rows import (
    End,
    Newest,
    checksum_of,
    events_after,
    events_of_job,
    events_of_stream,
    links_of,
    without,
)
from gnomon_sqlite.connection import snapshot
from gnomon_sqlite.log.checksums import CHECKED, STREAM, DamagedRowError, check_row, checked_rows

COMMITS: Final = "commits (first, last, earliest, latest, setback, previous, events, checksum)"

_encode = msgspec.json.Encoder().encode
_decode_ends = msgspec.json.Decoder(list[tuple[str, int, int, int]]).decode
_decode_newest = msgspec.json.Decoder(tuple[int, int, int] | None).decode
_NEWEST = "SELECT json_array(last, latest, setback) FROM commits ORDER BY first DESC LIMIT 1"
# JSON instead of rows: each row would ask for the GIL once more, as described in `connection.insert`.
_ENDS = f"""
    WITH wanted AS MATERIALIZED (SELECT value AS name FROM json_each(?))
    SELECT json_group_array(json_array(name, version, last, is_final)), ifnull(({_NEWEST}), 'null') FROM (
        SELECT name, version, last, 0 AS is_final FROM wanted CROSS JOIN live ON id = name
        UNION ALL SELECT name, version, last, 1 FROM wanted CROSS JOIN executions ON id = name
        UNION ALL SELECT name, version, last, 0 FROM wanted CROSS JOIN streams USING (name)
    )"""  # noqa: S608 - our own names
_AFTER = f"""
    SELECT {CHECKED} FROM commits
    WHERE first >= ifnull((SELECT max(first) FROM commits WHERE first <= :after), 0) AND last > :after ORDER BY first"""  # noqa: S608 - our own names


class LogEnds(msgspec.Struct, frozen=True):
    """The facts that an append needs: where the log ends, where streams end, and which streams are finished runs.

    `newest` is (last position, latest time, largest setback). `final` are the streams whose view is in `executions`.
    """

    newest: Newest
    ends: dict[str, End]
    final: frozenset[str]


def find_ends(connection: sqlite3.Connection, streams: Iterable[str]) -> LogEnds:
    """Return, with one statement, what an append of events of these streams needs."""
    found, newest = connection.execute(_ENDS, (_encode(list(streams)).decode(),)).fetchone()
    ends = _decode_ends(found)
    return LogEnds(
        _decode_newest(newest) or (0, 0, 0),
        {stream: (version, last) for stream, version, last, _ in ends},
        frozenset(stream for stream, _, _, is_final in ends if is_final),
    )


def head(connection: sqlite3.Connection) -> int:
    """Return the highest position ever assigned; the newest row stays even when all its events are pruned."""
    return find_ends(connection, ()).newest[0]


def read(connection: sqlite3.Connection, after: int, limit: int) -> list[Event]:
    """Return up to `limit` events with positions greater than `after`."""
    return read_rows(connection, after, limit)[:limit] if limit > 0 else []


def read_rows(connection: sqlite3.Connection, after: int, enough: float = math.inf) -> list[Event]:
    """Return the events after a position, by whole rows, until there are `enough`."""
    found: list[Event] = []
    for body in checked_rows(connection, _AFTER, {"after": after}):
        found += events_after(body, after)
        if len(found) >= enough:
            break
    return found


def read_job(connection: sqlite3.Connection, job_id: str, since: int, until: int) -> list[Event]:
    """Return the events of a job that were recorded in since <= at < until, without progress."""
    (setback,) = connection.execute("SELECT setback FROM commits ORDER BY first DESC LIMIT 1").fetchone() or (0,)
    rows = checked_rows(
        connection,
        f"""SELECT {CHECKED} FROM commits WHERE latest >= :since AND earliest < :until AND first <= ifnull(
            (SELECT first FROM commits WHERE latest >= :settled ORDER BY latest, first LIMIT 1), 9e18)
        ORDER BY first""",  # noqa: S608 - our own names
        {"since": since, "until": until, "settled": until + setback},
    )
    return events_of_job(rows, job_id, since, until)


def stream(connection: sqlite3.Connection, name: str) -> list[Event]:
    """Return the events of one stream."""
    found: list[Event] = []
    with snapshot(connection):
        flushed_end = find_ends(connection, [name]).ends.get(name, (0, 0))
        bodies: list[bytes] = []
        for index, _, body in _chain(connection, flushed_end[1]):
            if body is not None:
                bodies = codec.split(body)
            found.append(codec.decode(bodies[index]))
        if any(event.stream != name for event in found) or (found and found[0].version != flushed_end[0]):
            raise DamagedRowError(STREAM, name)
        unflushed = f"SELECT {CHECKED} FROM commits WHERE first > (SELECT position FROM flushed) ORDER BY first"  # noqa: S608
        late = events_of_stream(checked_rows(connection, unflushed, {}), name, flushed_end[0])
    return found[::-1] + late


def forget(connection: sqlite3.Connection, streams: Iterable[int]) -> list[int]:
    """Delete the events of streams, each given by the position of its last event; return their positions."""
    gone: defaultdict[int, list[int]] = defaultdict(list)
    for last in streams:
        for index, first, _ in _chain(connection, last):
            gone[first].append(index)
    newest = connection.execute("SELECT max(first) FROM commits").fetchone()[0]
    for first, indexes in gone.items():
        row = connection.execute(f"SELECT {CHECKED} FROM commits WHERE first = ?", (first,)).fetchone()  # noqa: S608 - our own names
        events, previous, _, *place = row
        body, is_left = without(events, indexes)
        if is_left or first == newest:
            update = "UPDATE commits SET events = ?, checksum = ? WHERE first = ?"
            connection.execute(update, (body, checksum_of(tuple(place), previous, body), first))
        else:
            connection.execute("DELETE FROM commits WHERE first = ?", (first,))
    return [first + index for first, indexes in gone.items() for index in indexes]


def _chain(connection: sqlite3.Connection, position: int) -> Iterator[tuple[int, int, bytes | None]]:
    """Yield the index of each event of a stream in its row, newest first, with `first` and, once, `events`."""
    first, last, links = 0, -1, list[int]()
    while position:
        body = None
        if not first <= position <= last:
            row = connection.execute(
                f"SELECT {CHECKED} FROM commits WHERE first <= ? ORDER BY first DESC LIMIT 1",  # noqa: S608 - our own names
                (position,),
            ).fetchone()
            if row is None or row[4] < position:
                raise StoreError(f"the log is damaged: event {position} is missing, and later events refer to it")
            check_row(*row)
            body, previous, _, first, last, *_ = row
            links = links_of(previous)
        index = position - first
        yield index, first, body
        position = links[index]
