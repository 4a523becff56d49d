"""Events to JSON and back: encode once, upcast what older versions wrote, keep what is not known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gnomon.events import EVENT_TYPES, LOG_FORMAT, Event, KnownEvent, UnknownEvent
from gnomon.errors import StoreError

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(KnownEvent)

encode: Callable[[Event], bytes] = _encoder.encode
"""Write an event as one flat JSON object: the form that stores keep and that viewers get."""


def decode(body: bytes) -> Event:
    """Read an event; older formats are upcast, a type from the future becomes an UnknownEvent.

    Raises StoreError for what is no event of ours at all.
    """
    try:
        event = _decoder.decode(body)
    except msgspec.ValidationError as exc:
        return _decode_slowly(body, exc)
    except msgspec.DecodeError as exc:
        raise StoreError(f"the log holds something that is no JSON event: {body[:80]!r}") from exc
    if event.log_format != LOG_FORMAT:
        return _decode_slowly(body, None)
    return event


def _decode_slowly(body: bytes, cause: Exception | None) -> Event:
    raw = msgspec.json.decode(body)
    if not isinstance(raw, dict) or "type" not in raw:
        raise StoreError(f"the log holds something that is no event: {body[:80]!r}") from cause
    raw = upcast(raw)
    if raw["type"] not in EVENT_TYPES:
        header = {name: raw[name] for name in UnknownEvent.__struct_fields__ if name in raw}
        return msgspec.convert({**header, "type": "unknown", "raw": raw}, UnknownEvent)
    try:
        return msgspec.convert(raw, EVENT_TYPES[raw["type"]])
    except msgspec.ValidationError as exc:
        raise StoreError(f"event {raw.get('position')} ({raw['type']}) cannot be read: {exc}") from exc


def upcast(raw: dict[str, Any]) -> dict[str, Any]:
    """Bring an event that an older version wrote into today's form; stored data is never rewritten."""
    while (log_format := raw.get("log_format", 1)) < LOG_FORMAT:
        raw = {**UPCASTERS[log_format](raw), "log_format": log_format + 1}
    return raw


def _from_format_1(raw: dict[str, Any]) -> dict[str, Any]:
    """Format 1 (development versions before 0.1) called execution_time `duration` and the reason `late` `misfire`."""
    if "duration" in raw:
        raw = {**raw, "execution_time": raw["duration"]}
        del raw["duration"]
    if raw["type"] == "missed" and raw.get("reason") == "misfire":
        raw = {**raw, "reason": "late"}
    return raw


UPCASTERS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_format_1}
"""From each old format to the next one: pure functions on the decoded JSON, run before a Struct is built."""
