"""Events to JSON and back, with upcasters for older formats; unknown events are kept unchanged."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gnomon.domain.events import EVENT_TYPES, LOG_FORMAT, Event, KnownEvent, UnknownEvent
from gnomon.errors import StoreError
from gnomon.json_depth import ENVELOPE_DEPTH, MAX_DEPTH, cut_text, cut_value, decode_cut, is_text_too_deep
from gnomon.safe_text import safe_str

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(KnownEvent)
_list_decoder: msgspec.json.Decoder[list[Event | None]] = msgspec.json.Decoder(list[KnownEvent | None])
_raw_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])
DEEPEST_SENT = MAX_DEPTH + ENVELOPE_DEPTH
"""Levels of an event that is sent as it is."""
_MARK = b'"log_format":%d' % LOG_FORMAT
# Format 1 does not always write its number, and a Struct fills in the present one, so the text itself is checked.


def encode(event: Event) -> bytes:
    """Return an event as one flat JSON object: the form that stores keep and viewers receive."""
    if isinstance(event, UnknownEvent):  # as its own version wrote it, at its position in this log
        return _encoder.encode({**event.raw, "position": event.position})
    return _encoder.encode(event)


def encode_to_send(events: Sequence[Event]) -> list[bytes]:
    """Encode each event by itself for viewers, which must be able to decode it: what is nested too deeply is cut.

    An event that cannot be encoded at all is replaced by its header, as an event of the type `unreadable`.
    """
    try:
        texts = encode_each(events)
    except (RecursionError, ValueError, TypeError):  # one of them: of all others the viewers get the whole
        texts = [_encode_somehow(event) for event in events]
    return [cut_text(text) if is_text_too_deep(text, DEEPEST_SENT) else text for text in texts]


def _encode_somehow(event: Event) -> bytes:
    try:
        return encode(_cut_event(event))
    except (RecursionError, ValueError, TypeError) as exc:
        header = {name: getattr(event, name) for name in Event.__struct_fields__}
        problem = f"the event {event.type!r} cannot be written as JSON: {safe_str(exc)}"
        return _encoder.encode({"type": "unreadable", **header, "problem": problem})


def _cut_event(event: Event) -> Event:
    fields = ((name, getattr(event, name)) for name in event.__struct_fields__)
    deep = {name: cut_value(value) for name, value in fields if isinstance(value, list | tuple | dict)}
    return msgspec.structs.replace(event, **deep)


def decode(body: bytes) -> Event:
    """Parse an event; older formats are upcast, an unknown type becomes an UnknownEvent.

    Raises StoreError for anything that is not an event.
    """
    try:
        event = decode_cut(_decoder.decode, body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        return _decode_slowly(body, exc)
    if event.log_format != LOG_FORMAT or _MARK not in body:
        return _decode_slowly(body, None)
    return event


def encode_all(events: Sequence[Event]) -> bytes:
    """Return events as one JSON array, in half the time of encoding each by itself."""
    if UnknownEvent in set(map(type, events)):
        return b"[%b]" % b",".join(map(encode, events))
    return _encoder.encode(events)


class EventBatch(tuple[Event, ...]):  # noqa: SLOT001 - it has no slots because it carries its JSON
    """The events of one commit. Their JSON is made once, for the store and for viewers: encode_rows, encode_each."""

    rows: tuple[int, list[bytes]] | None = None
    texts: list[bytes] | None = None

    def of_copies(self, copies: Sequence[Event]) -> EventBatch:
        """Return a batch of copies of these events, with the JSON of the originals."""
        batch = EventBatch(copies)
        batch.rows, batch.texts = self.rows, self.texts
        return batch


def encode_rows(events: Sequence[Event], size: int) -> list[bytes]:
    """Encode events as JSON arrays of up to `size` events each."""
    if isinstance(events, EventBatch) and events.rows is not None and events.rows[0] == size:
        return events.rows[1]
    rows = [encode_all(events[start : start + size]) for start in range(0, len(events), size)]
    if isinstance(events, EventBatch):
        events.rows = (size, rows)
    return rows


def encode_each(events: Sequence[Event]) -> list[bytes]:
    """Encode each event by itself. A batch that the store has encoded is only split: 1.3 µs an event, not 2.1."""
    if not isinstance(events, EventBatch):
        return [encode(event) for event in events]
    if events.texts is None:
        rows = events.rows
        events.texts = [encode(e) for e in events] if rows is None else [text for row in rows[1] for text in split(row)]
    return events.texts


def decode_all(body: bytes) -> list[Event | None]:
    """Parse an array of events, with null for pruned ones, in half the time of parsing each by itself."""
    try:
        events = _list_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        events = None
    # Each event in the present format has the mark; if one lacks it, there are fewer marks than events.
    if events is not None and body.count(_MARK) == len(events) - events.count(None):
        return events
    return [None if one == b"null" else decode(one) for one in split(body)]


def split(body: bytes) -> list[bytes]:
    """Split an array of events into their texts without parsing them."""
    try:
        return [bytes(one) for one in decode_cut(_raw_list_decoder.decode, body)]
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise StoreError(f"the log contains an entry that is not valid JSON: {body[:80]!r}") from exc


def _decode_slowly(body: bytes, cause: Exception | None) -> Event:
    try:
        raw = decode_cut(msgspec.json.decode, body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise StoreError(f"the log contains an entry that is not valid JSON: {body[:80]!r}") from exc
    if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
        raise StoreError(f"the log contains an entry that is not an event: {body[:80]!r}") from cause
    try:
        return _build(raw)
    except msgspec.ValidationError as exc:
        raise StoreError(f"event {raw.get('position')} ({raw['type']}) cannot be parsed: {exc}") from exc


def _build(raw: dict[str, Any]) -> Event:
    new = upcast(raw)
    if new["type"] in EVENT_TYPES:
        return msgspec.convert(new, EVENT_TYPES[new["type"]])
    header = {name: raw[name] for name in Event.__struct_fields__ if name in raw}
    return msgspec.convert({**header, "type": "unknown", "raw": raw}, UnknownEvent)


def upcast(raw: dict[str, Any]) -> dict[str, Any]:
    """Convert an event in an older format to the present one; stored data is never rewritten."""
    log_format = raw.get("log_format", 1)
    if not isinstance(log_format, int) or log_format < 1:
        raise StoreError(f"event {raw.get('position')} has log_format {log_format!r}, expected a number of 1 or more")
    for old in range(log_format, LOG_FORMAT):
        raw = {**UPCASTERS[old](raw), "log_format": old + 1}
    return raw


def _from_format_1(raw: dict[str, Any]) -> dict[str, Any]:
    """Format 1 (development versions before 0.1) called execution_time `duration` and the reason `late` `misfire`."""
    if "duration" in raw:
        raw = {**raw, "execution_time": raw["duration"]}
        del raw["duration"]
    if raw["type"] == "missed" and raw.get("reason") == "misfire":
        raw = {**raw, "reason": "late"}
    return raw


def _from_format_2(raw: dict[str, Any]) -> dict[str, Any]:
    """Rename `why` of job events; derive `blocked_by` and `by_kernel`, which format 2 (version 0.1) did not have."""
    if raw["type"] in EVENT_TYPES and "why" in raw:
        raw = {**raw, "reason": raw["why"]}
        del raw["why"]
    if raw["type"] == "missed" and (blocked_by := _RUN_IN_TEXT.match(raw.get("detail") or "")) is not None:
        raw = {**raw, "blocked_by": blocked_by[1]}
    if raw.get("actor") == "kernel" and raw["type"] in _ACTS_OF_THE_KERNEL:
        raw = {**raw, "by_kernel": True}
    return raw


_ACTS_OF_THE_KERNEL = frozenset({"job_added", "job_changed", "job_removed", "cancel_requested", "cancelled", "failed"})
# In format 2 only the name tells them from those of an operator; the kernel never pauses, resumes or describes a job.


_RUN_IN_TEXT = re.compile(r"run ([0-9a-f]{24}) was still ")


UPCASTERS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_format_1, 2: _from_format_2}
"""One pure function per old format, from its decoded JSON to that of the next format."""
