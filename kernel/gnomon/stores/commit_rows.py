"""The log as rows that hold all events of an append, and the chains that connect the events of a stream.

An event costs its own bytes and nothing more: it has no row and no index entry. Beside the events, a row has for each
of them the position of the event before it in its stream, 0 for the first one. These functions make such rows and read
them; a store keeps them in its database.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from gnomon.domain import codec
from gnomon.domain.events import Event, Progress
from gnomon.errors import ConflictError, StoreError
from gnomon.stores.microseconds import to_micros

EVENTS_PER_ROW = 256
"""Reading a single event decodes its whole row, which takes about 50 µs."""
PRUNED: Final = b"null"
"""What takes the place of an event that was deleted."""

Place: TypeAlias = tuple[int, int, int, int, int]
"""first, last, earliest, latest, setback of a row: positions, and times in µs since 1970.

`latest` is the latest time up to this row, so it never decreases; `setback` is the largest amount by which an event up
to this row lies before an earlier one, after a clock was set back. Together they bound a search by time.
"""
Row: TypeAlias = tuple[int, int, int, int, int, bytes, bytes, int]
"""A place, the links and the events as JSON, and the checksum."""
BODY: Final = 6
"""The place of the events' JSON in a row."""
End: TypeAlias = tuple[int, int]
"""Where a stream ends: the version and the position of its last event."""
Newest: TypeAlias = tuple[int, int, int]
"""Where a log ends: its last position, the latest time and the largest setback so far."""

_encode = msgspec.json.Encoder().encode
_decode_links = msgspec.json.Decoder(list[int]).decode


def checksum_of(place: Place, links: bytes, events: bytes) -> int:
    """Return the checksum of a row, a CRC-32."""
    return zlib.crc32(events, zlib.crc32(links, zlib.crc32(("%s %s %s %s %s" % place).encode())))  # noqa: UP031 - faster


def rows_of(
    events: Sequence[Event], known: Mapping[str, End], newest: Newest, *, check: bool = True
) -> tuple[list[Row], dict[str, End]]:
    """Return the rows of an append and where its streams end afterwards; ConflictError where a place is taken.

    Without `check` the positions may have gaps.
    """
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
    events: Sequence[Event], known: Mapping[str, End], newest: Newest
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
        newest, begin = newest_of(rows[-1]), number
    return rows, ends


def newest_of(row: Row) -> Newest:
    """Return where a log ends whose newest row this is."""
    return row[1], row[3], row[4]


def tombstone(position: int, newest: Newest) -> Row:
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


# --- reading rows ---


def events_after(body: bytes, position: int) -> list[Event]:
    """Return the events of a row after a position, without those that were deleted."""
    events = codec.decode_all(body)
    if events[0] is None or events[0].position <= position or None in events:
        return [event for event in events if event is not None and event.position > position]
    return events  # type: ignore[return-value]  # none is None


def mark_of_job(job_id: str) -> bytes:
    """Return what is in each row with events of this job: most rows have none, and need not be decoded."""
    return b'"job_id":' + _encode(job_id)


def mark_of_stream(stream: str) -> bytes:
    """Return what is in each row with events of this stream."""
    return _encode(stream)


def events_of_job(bodies: Iterable[bytes], job_id: str, since: int, until: int) -> list[Event]:
    """Return the events of a job in rows that were recorded in since <= at < until, in µs, without progress."""
    mark = mark_of_job(job_id)

    def is_wanted(event: Event) -> bool:
        return event.job_id == job_id and since <= to_micros(event.at) < until and not isinstance(event, Progress)

    return [event for body in bodies if mark in body for event in _matching(body, is_wanted)]


def events_of_stream(bodies: Iterable[bytes], stream: str, version: int) -> list[Event]:
    """Return the events of a stream in rows whose versions are greater than this one."""
    mark = mark_of_stream(stream)
    return [
        event
        for body in bodies
        if mark in body
        for event in _matching(body, lambda event: event.stream == stream and event.version > version)
    ]


def _matching(body: bytes, is_wanted: Callable[[Event], bool]) -> Iterator[Event]:
    return (event for event in codec.decode_all(body) if event is not None and is_wanted(event))


def links_of(previous: bytes) -> list[int]:
    """Return the links of a row: for each event the position of the one before it in its stream, 0 for the first."""
    return _decode_links(previous)


def without(body: bytes, indexes: Iterable[int]) -> tuple[bytes, bool]:
    """Return the events of a row without those at some indexes, and whether any is left."""
    texts = codec.split(body)
    for index in indexes:
        texts[index] = PRUNED
    return b"[%b]" % b",".join(texts), any(one != PRUNED for one in texts)
