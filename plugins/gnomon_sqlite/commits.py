"""The log itself: rows that hold all events of an append, and chains of positions that lead through streams."""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from gnomon.domain import codec
from gnomon.domain.events import Event, Progress
from gnomon.errors import ConflictError, StoreError
from gnomon_sqlite.database import micros, snapshot

ROW = 256
"""Events in one row: to read one of them its whole row is taken apart, some 50 µs."""
FORGOTTEN: Final = b"null"
COMMITS: Final = "commits (first, last, earliest, latest, setback, previous, events)"

Row: TypeAlias = tuple[int, int, int, int, int, bytes, bytes]

_encode = msgspec.json.Encoder().encode
_decode_previous = msgspec.json.Decoder(list[int]).decode
_decode_ends = msgspec.json.Decoder(list[tuple[str, int, int, int]]).decode
_decode_newest = msgspec.json.Decoder(tuple[int, int, int] | None).decode
_NEWEST = "SELECT json_array(last, latest, setback) FROM commits ORDER BY first DESC LIMIT 1"
# Texts: each row would ask for the GIL once more, as told in `insert`.
_ENDS = f"""
    WITH wanted AS MATERIALIZED (SELECT value AS name FROM json_each(?))
    SELECT json_group_array(json_array(name, version, last, is_filed)), ifnull(({_NEWEST}), 'null') FROM (
        SELECT name, version, last, 0 AS is_filed FROM wanted CROSS JOIN live ON id = name
        UNION ALL SELECT name, version, last, 1 FROM wanted CROSS JOIN executions ON id = name
        UNION ALL SELECT name, version, last, 0 FROM wanted CROSS JOIN streams USING (name)
    )"""  # noqa: S608 - ours
_AFTER = """
    SELECT events FROM commits
    WHERE first >= ifnull((SELECT max(first) FROM commits WHERE first <= ?1), 0) AND last > ?1 ORDER BY first"""

End: TypeAlias = tuple[int, int]
"""Where a stream ends: the version and the position of its last event."""


class Found(msgspec.Struct, frozen=True):
    """What an append must know of the log: where it ends, where streams end, which of them are filed executions."""

    newest: tuple[int, int, int]
    ends: dict[str, End]
    filed: frozenset[str]


def find(connection: sqlite3.Connection, streams: Iterable[str]) -> Found:
    """Look up what an append of these streams must know, with one statement."""
    told, newest = connection.execute(_ENDS, (_encode(list(streams)).decode(),)).fetchone()
    found = _decode_ends(told)
    return Found(
        _decode_newest(newest) or (0, 0, 0),
        {stream: (version, last) for stream, version, last, _ in found},
        frozenset(stream for stream, _, _, is_filed in found if is_filed),
    )


def head(connection: sqlite3.Connection) -> int:
    """Return the highest position ever given: the newest row stays, also when all of its events are forgotten."""
    return find(connection, ()).newest[0]


def rows_of(
    events: Sequence[Event], known: Mapping[str, End], newest: tuple[int, int, int], *, check: bool = True
) -> tuple[list[Row], dict[str, End]]:
    """Make the rows of an append, and tell where its streams end then; ConflictError where a place is taken."""
    last, latest, setback = newest
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
    rows = []
    for start in range(0, len(events), ROW):
        some = events[start : start + ROW]
        earliest, latest, setback = _times(some, latest, setback)
        links, body = _encode(previous[start : start + ROW]), codec.encode_all(some)
        rows.append((some[0].position, some[-1].position, earliest, latest, setback, links, body))
    return rows, now


def _check_positions(events: Sequence[Event], last: int) -> None:
    if [event.position for event in events] == list(range(last + 1, last + 1 + len(events))):
        return
    for position, event in enumerate(events, last + 1):
        if event.position < position:
            raise ConflictError(event.stream, event.version, event.position)
        if event.position > position:
            raise StoreError(f"event {event.position} would leave a gap in the log: the next is {position}")


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
    return read_rows(connection, after, limit)[:limit] if limit > 0 else []


def read_rows(connection: sqlite3.Connection, after: int, enough: float = math.inf) -> list[Event]:
    """Read events after a position, by whole rows, until there are enough."""
    found: list[Event] = []
    for (body,) in connection.execute(_AFTER, (after,)):
        events = codec.decode_all(body)
        if events[0] is None or events[0].position <= after or None in events:
            found += (event for event in events if event is not None and event.position > after)
        else:
            found += events  # type: ignore[arg-type]
        if len(found) >= enough:
            break
    return found


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
        filed = find(connection, [name]).ends.get(name, (0, 0))
        bodies: list[bytes] = []
        for index, body in _chain(connection, filed[1], "events"):
            if body is not None:
                bodies = codec.split(body)
            found.append(codec.decode(bodies[index]))
        quoted = _encode(name)
        tail = connection.execute(
            "SELECT events FROM commits WHERE first > (SELECT position FROM filed) ORDER BY first"
        )
        late = [
            event
            for (body,) in tail
            if quoted in body
            for event in _kept(body, lambda event: event.stream == name and event.version > filed[0])
        ]
    return found[::-1] + late


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
