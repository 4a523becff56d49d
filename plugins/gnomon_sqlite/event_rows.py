"""The log itself: rows that hold all events of an append, and the chains that connect the events of a stream."""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from gnomon.domain import codec
from gnomon.domain.events import Event, Progress
from gnomon.errors import ConflictError, StoreError
from gnomon.stores.microseconds import to_micros
from gnomon_sqlite.checksums import CHECKED, STREAM, DamagedRowError, check_row, checked_rows, checksum_of
from gnomon_sqlite.connection import snapshot

EVENTS_PER_ROW = 256
"""Reading a single event decodes its whole row, which takes about 50 µs."""
PRUNED: Final = b"null"
COMMITS: Final = "commits (first, last, earliest, latest, setback, previous, events, checksum)"

Row: TypeAlias = tuple[int, int, int, int, int, bytes, bytes, int]
BODY: Final = 6
"""The place of the events' JSON in a row."""

_encode = msgspec.json.Encoder().encode
_decode_previous = msgspec.json.Decoder(list[int]).decode
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

End: TypeAlias = tuple[int, int]
"""Where a stream ends: the version and the position of its last event."""


class LogEnds(msgspec.Struct, frozen=True):
    """The facts that an append needs: where the log ends, where streams end, and which streams are finished runs.

    `newest` is (last position, latest time, largest setback). `final` are the streams whose view is in `executions`.
    """

    newest: tuple[int, int, int]
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


def rows_of(
    events: Sequence[Event], known: Mapping[str, End], newest: tuple[int, int, int], *, check: bool = True
) -> tuple[list[Row], dict[str, End]]:
    """Return the rows of an append and where its streams end afterwards; ConflictError where a place is taken."""
    last, latest, setback = newest
    if check:
        _check_positions(events, last)
    ends: dict[str, End] = {}
    previous = []
    for event in events:
        stream = event.stream
        end = ends.get(stream) or known.get(stream)
        if end is None:
            previous.append(0)
        elif event.version <= end[0]:
            raise ConflictError(stream, event.version, event.position)
        else:
            previous.append(end[1])
        ends[stream] = (event.version, event.position)
    rows = []
    for number, body in enumerate(codec.encode_rows(events, EVENTS_PER_ROW)):
        start = number * EVENTS_PER_ROW
        some = events[start : start + EVENTS_PER_ROW]
        earliest, latest, setback = _times(some, latest, setback)
        links = _encode(previous[start : start + EVENTS_PER_ROW])
        place = some[0].position, some[-1].position, earliest, latest, setback
        rows.append((*place, links, body, checksum_of(place, links, body)))
    return rows, ends


def rows_with_gaps(
    events: Sequence[Event], known: Mapping[str, End], newest: tuple[int, int, int]
) -> tuple[list[Row], dict[str, End]]:
    """Return the same for events of another log, whose positions increase: a row has no gap, so each gap begins one."""
    rows: list[Row] = []
    ends: dict[str, End] = {}
    begin = 0
    for number, event in enumerate(events, 1):
        if event.position <= newest[0]:
            raise ConflictError(event.stream, event.version, event.position)
        if number < len(events) and events[number].position == event.position + 1:
            continue
        some, some_ends = rows_of(events[begin:number], {**known, **ends}, newest, check=False)
        rows += some
        ends |= some_ends
        newest, begin = (rows[-1][1], rows[-1][3], rows[-1][4]), number
    return rows, ends


def tombstone(position: int, newest: tuple[int, int, int]) -> Row:
    """Return a row for a position whose event is gone, after the newest row, so that it is never assigned again."""
    _, latest, setback = newest
    links, body = b"[0]", b"[%b]" % PRUNED
    place = position, position, latest, latest, setback
    return *place, links, body, checksum_of(place, links, body)


def _check_positions(events: Sequence[Event], last: int) -> None:
    if [event.position for event in events] == list(range(last + 1, last + 1 + len(events))):
        return
    for position, event in enumerate(events, last + 1):
        if event.position < position:
            raise ConflictError(event.stream, event.version, event.position)
        if event.position > position:
            raise StoreError(f"event {event.position} would leave a gap in the log: the next one is {position}")


def _times(events: Sequence[Event], latest: int, setback: int) -> tuple[int, int, int]:
    """Return the earliest time of these events, the latest time so far, and the largest setback so far."""
    times = [event.at for event in events]
    if times == sorted(times):
        earliest = to_micros(times[0])
        return earliest, max(latest, to_micros(times[-1])), max(setback, latest - earliest)
    moments = [to_micros(at) for at in times]
    for moment in moments:
        latest = max(latest, moment)
        setback = max(setback, latest - moment)
    return min(moments), latest, setback


def read(connection: sqlite3.Connection, after: int, limit: int) -> list[Event]:
    """Return up to `limit` events with positions greater than `after`."""
    return read_rows(connection, after, limit)[:limit] if limit > 0 else []


def read_rows(connection: sqlite3.Connection, after: int, enough: float = math.inf) -> list[Event]:
    """Return the events after a position, by whole rows, until there are `enough`."""
    found: list[Event] = []
    for body in checked_rows(connection, _AFTER, {"after": after}):
        events = codec.decode_all(body)
        if events[0] is None or events[0].position <= after or None in events:
            found += (event for event in events if event is not None and event.position > after)
        else:
            found += events  # type: ignore[arg-type]
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
    name = b'"job_id":' + _encode(job_id)  # most rows do not mention a given job, so they are not decoded

    def is_wanted(event: Event) -> bool:
        return event.job_id == job_id and since <= to_micros(event.at) < until and not isinstance(event, Progress)

    return [event for body in rows if name in body for event in _matching(body, is_wanted)]


def _matching(body: bytes, is_wanted: Callable[[Event], bool]) -> Iterator[Event]:
    return (event for event in codec.decode_all(body) if event is not None and is_wanted(event))


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
        quoted = _encode(name)
        unflushed = f"SELECT {CHECKED} FROM commits WHERE first > (SELECT position FROM flushed) ORDER BY first"  # noqa: S608
        tail = checked_rows(connection, unflushed, {})
        late = [
            event
            for body in tail
            if quoted in body
            for event in _matching(body, lambda event: event.stream == name and event.version > flushed_end[0])
        ]
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
        bodies = codec.split(events)
        for index in indexes:
            bodies[index] = PRUNED
        if first != newest and all(one == PRUNED for one in bodies):
            connection.execute("DELETE FROM commits WHERE first = ?", (first,))
        else:
            body = b"[%b]" % b",".join(bodies)
            update = "UPDATE commits SET events = ?, checksum = ? WHERE first = ?"
            connection.execute(update, (body, checksum_of(tuple(place), previous, body), first))
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
            links = _decode_previous(previous)
        index = position - first
        yield index, first, body
        position = links[index]
