"""The log itself: rows that hold all events of an append, and chains of positions that lead through streams."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from gnomon import codec
from gnomon.errors import ConflictError, StoreError
from gnomon.events import Event, Progress
from gnomon_sqlite.database import insert, micros, snapshot

ROW = 256
"""Events in one row: to read one of them its whole row is taken apart, some 50 µs."""
FORGOTTEN: Final = b"null"
COMMITS: Final = "commits (first, last, earliest, latest, setback, previous, events)"

_encode = msgspec.json.Encoder().encode
_decode_previous = msgspec.json.Decoder(list[int]).decode
_decode_ends = msgspec.json.Decoder(list[tuple[str, int, int, int]]).decode
# One text: each row would ask for the GIL once more, as told in `insert`.
_ENDS = """
    WITH wanted AS MATERIALIZED (SELECT value AS name FROM json_each(?))
    SELECT json_group_array(json_array(name, version, last, is_filed)) FROM (
        SELECT name, version, last, 0 AS is_filed FROM wanted CROSS JOIN live ON id = name
        UNION ALL SELECT name, version, last, 1 FROM wanted CROSS JOIN executions ON id = name
        UNION ALL SELECT name, version, last, 0 FROM wanted CROSS JOIN streams USING (name)
    )"""
_NEWEST = "SELECT last, latest, setback FROM commits ORDER BY first DESC LIMIT 1"


End: TypeAlias = tuple[int, int]
"""Where a stream ends: the version and the position of its last event."""


def head(connection: sqlite3.Connection) -> int:
    """Return the highest position ever given: the newest row stays, also when all of its events are forgotten."""
    row = connection.execute(_NEWEST).fetchone()
    return int(row[0]) if row else 0


def ends(connection: sqlite3.Connection, streams: Iterable[str]) -> tuple[dict[str, End], frozenset[str]]:
    """Return where streams end that are in the log, and which of them are executions that are filed."""
    (text,) = connection.execute(_ENDS, (_encode(list(streams)).decode(),)).fetchone()
    found = _decode_ends(text)
    filed = frozenset(stream for stream, _, _, is_filed in found if is_filed)
    return {stream: (version, last) for stream, version, last, _ in found}, filed


def write(
    connection: sqlite3.Connection, events: Sequence[Event], known: Mapping[str, End], *, check: bool = True
) -> dict[str, End]:
    """Append events, and return where their streams end now; ConflictError where a place is taken."""
    last, latest, setback = connection.execute(_NEWEST).fetchone() or (0, 0, 0)
    if check:
        _check_positions(events, last)
    now: dict[str, End] = {}
    previous = []
    for event in events:
        stream = event.stream
        end = now.get(stream) or known.get(stream)
        if end is None:
            previous.append(0)
        elif event.version <= end[0]:
            raise ConflictError(stream, event.version, event.position)
        else:
            previous.append(end[1])
        now[stream] = (event.version, event.position)
    if events:
        _insert(connection, events, previous, latest, setback)
    return now


def _check_positions(events: Sequence[Event], last: int) -> None:
    for position, event in enumerate(events, last + 1):
        if event.position < position:
            raise ConflictError(event.stream, event.version, event.position)
        if event.position > position:
            raise StoreError(f"event {event.position} would leave a gap in the log: the next is {position}")


def _insert(
    connection: sqlite3.Connection, events: Sequence[Event], previous: Sequence[int], latest: int, setback: int
) -> None:
    rows = []
    for start in range(0, len(events), ROW):
        some = events[start : start + ROW]
        earliest, latest, setback = _times(some, latest, setback)
        links, body = _encode(previous[start : start + ROW]), codec.encode_all(some)
        rows.append((some[0].position, some[-1].position, earliest, latest, setback, links, body))
    insert(connection, f"INTO {COMMITS}", rows)


def _times(events: Sequence[Event], latest: int, setback: int) -> tuple[int, int, int]:
    """Return the earliest time of these events, the latest one up to them, and the longest way back up to them."""
    times = [event.at for event in events]
    if times == sorted(times):
        earliest = micros(times[0])
        return earliest, max(latest, micros(times[-1])), max(setback, latest - earliest)
    moments = [micros(at) for at in times]
    for moment in moments:
        latest = max(latest, moment)
        setback = max(setback, latest - moment)
    return min(moments), latest, setback


def read(connection: sqlite3.Connection, after: int, limit: int) -> list[Event]:
    """Read events by position."""
    found: list[Event] = []
    if limit > 0:
        for (body,) in connection.execute("SELECT events FROM commits WHERE last > ? ORDER BY first", (after,)):
            events = codec.decode_all(body)
            if events[0] is None or events[0].position <= after or None in events:
                found += (event for event in events if event is not None and event.position > after)
            else:
                found += events  # type: ignore[arg-type]
            if len(found) >= limit:
                break
    return found[: max(limit, 0)]


def read_job(connection: sqlite3.Connection, job_id: str, since: int, until: int) -> list[Event]:
    """Read what was recorded of a job in since <= at < until, progress left out."""
    (setback,) = connection.execute("SELECT setback FROM commits ORDER BY first DESC LIMIT 1").fetchone() or (0,)
    rows = connection.execute(
        """SELECT events FROM commits WHERE latest >= ?1 AND earliest < ?2 AND first <= ifnull(
            (SELECT first FROM commits WHERE latest >= ?3 ORDER BY latest, first LIMIT 1), 9e18)
        ORDER BY first""",
        (since, until, until + setback),
    )
    name = _encode(job_id)  # most rows know nothing of one job, and need not be read

    def wanted(event: Event) -> bool:
        return event.job_id == job_id and since <= micros(event.at) < until and not isinstance(event, Progress)

    return [event for (body,) in rows if name in body for event in _kept(body, wanted)]


def _kept(body: bytes, wanted: Callable[[Event], bool]) -> Iterator[Event]:
    return (event for event in codec.decode_all(body) if event is not None and wanted(event))


def stream(connection: sqlite3.Connection, name: str) -> list[Event]:
    """Read the events of one stream."""
    found: list[Event] = []
    with snapshot(connection):
        if (end := ends(connection, [name])[0].get(name)) is not None:
            bodies: list[bytes] = []
            for index, body in _chain(connection, end[1], "events"):
                if body is not None:
                    bodies = codec.split(body)
                found.append(codec.decode(bodies[index]))
    return found[::-1]


def forget(connection: sqlite3.Connection, streams: Iterable[int]) -> None:
    """Forget the events of streams, each given by the position of its last event."""
    gone: defaultdict[int, list[int]] = defaultdict(list)
    for last in streams:
        first = 0
        for index, found in _chain(connection, last, "first"):
            first = found or first
            gone[first].append(index)
    newest = connection.execute("SELECT max(first) FROM commits").fetchone()[0]
    for first, indexes in gone.items():
        ((body,),) = connection.execute("SELECT events FROM commits WHERE first = ?", (first,)).fetchall()
        bodies = codec.split(body)
        for index in indexes:
            bodies[index] = FORGOTTEN
        if first != newest and all(one == FORGOTTEN for one in bodies):
            connection.execute("DELETE FROM commits WHERE first = ?", (first,))
        else:
            connection.execute("UPDATE commits SET events = ? WHERE first = ?", (b"[%b]" % b",".join(bodies), first))


def _chain(connection: sqlite3.Connection, position: int, column: str) -> Iterator[tuple[int, Any]]:
    """Follow a stream back from a position: for each event its place in its row, and a column where the row is new."""
    first, last, links = 0, -1, list[int]()
    while position:
        value = None
        if not first <= position <= last:
            row = connection.execute(
                f"SELECT first, last, previous, {column} FROM commits WHERE first <= ? ORDER BY first DESC LIMIT 1",  # noqa: S608
                (position,),
            ).fetchone()
            if row is None or row[1] < position:
                raise StoreError(f"the log is damaged: there is no event {position}, and others follow on it")
            first, last, links, value = row[0], row[1], _decode_previous(row[2]), row[3]
        index = position - first
        yield index, value
        position = links[index]
