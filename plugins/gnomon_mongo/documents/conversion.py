"""Converts events and views to documents and back.

Plain fields are for people and other programs. What the store reads back is JSON in a string beside them: BSON has no
microseconds, no integers beyond 64 bits and no NUL in keys, and a log must return exactly what it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import bson
import msgspec
from bson import ObjectId

from gnomon.domain import codec
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.labels import label_texts
from gnomon.domain.operator_actions import action_of
from gnomon.domain.records import Action, Checkpoint, LogLine
from gnomon.errors import StoreError
from gnomon.json_depth import decode_cut
from gnomon.stores.microseconds import from_micros, to_micros
from gnomon_mongo.drivers import Document

T = TypeVar("T")

LARGEST = 15 * 1024 * 1024
"""Bytes of one document: the server accepts 16 MiB, and needs some of it itself."""
SHOWN = 1024 * 1024
"""Bytes of arguments or of a return value that are stored as fields; larger ones are in the JSON only."""
BSON_PER_JSON = 10
"""The most bytes of BSON per character of JSON: `[1,1,1]` has 2 characters for each number, BSON about 12 bytes."""
DEEPEST = 32
"""Levels of arguments that are stored as fields; deeper ones become text, since the server accepts 100 levels."""

_encoder = msgspec.json.Encoder()
_decode_execution = msgspec.json.Decoder(Execution).decode
_decode_job = msgspec.json.Decoder(JobState).decode
_decode_line = msgspec.json.Decoder(LogLine).decode


def millis(moment: datetime) -> datetime:
    """Truncate a datetime to milliseconds, the precision of a BSON date."""
    return moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)


def execution_key(execution_id: str) -> ObjectId | str:
    """Return the `_id` of an execution; an id that is not a valid ObjectId stays text."""
    if not ObjectId.is_valid(execution_id) or str(ObjectId(execution_id)) != execution_id:
        return execution_id
    return ObjectId(execution_id)


def event_document(event: Event, batch: int) -> Document:
    """Encode an event. `batch` is the first position of the append that it belongs to, for repairs after a crash."""
    return _checked(
        {
            "_id": event.position,
            "stream": event.stream,
            "version": event.version,
            "type": event.type,
            "job_id": event.job_id,
            "node": event.node,
            "at": millis(event.at),
            "batch": batch,
            "body": codec.encode(event).decode(),
        },
        f"event {event.position} ({event.type} of {event.stream})",
    )


def event_of(document: Document) -> Event:
    """Decode an event."""
    return codec.decode(document["body"].encode())


def execution_document(view: Execution) -> Document:
    """Encode an execution: fields for all readers, and under `gnomon` what only the store needs.

    If its steps do not fit into a document they are left out; its events have all of them.
    """
    document = _execution_document(view)
    if _size(document) > LARGEST:
        without_steps = msgspec.structs.replace(view.progress, steps=())
        document = _execution_document(msgspec.structs.replace(view, progress=without_steps))
    return _checked(document, f"execution {view.id}")


def _execution_document(view: Execution) -> Document:
    progress, own = view.progress, _own(view)
    is_small = len(own["view"]) * BSON_PER_JSON < SHOWN
    return {
        "_id": execution_key(view.id),
        "job_id": view.job_id,
        "job_name": view.job_name,
        "status": view.status,
        "scheduled_time": view.scheduled_time,
        "timestamp": millis(view.timestamp),
        "execution_time": view.execution_time,
        "error_message": view.error_message,
        "error_type": view.error_type,
        "traceback": view.traceback,
        "is_manual": view.is_manual,
        "cancel_requested": view.cancel_requested,
        "updated_at": view.updated_at,
        "progress": progress.percent or 0.0,
        "progress_message": progress.message,
        "current_item": progress.current_item,
        "processed_items": _shown(progress.processed_items),
        "total_items": _shown(progress.total_items),
        "steps": _bounded([{"name": step.name, "status": step.status} for step in progress.steps], is_small),
        "return_value": _bounded(view.return_value, is_small),
        "reason": view.reason,
        "actor": view.actor,
        "kwargs": _bounded(view.kwargs, is_small),
        "force": view.force,
        "attempt": view.attempt,
        "retry_of": view.retry_of,
        "node": view.node,
        "version": view.version,
        **({"cause": view.cause} if view.cause else {}),
        **({"labels": label_texts(view.labels)} if view.labels else {}),
        "gnomon": own,
    }


def _own(view: Execution) -> Document:
    """Encode the keys of lists, and the view without its traceback, which is a field already."""
    own: Document = {
        "view": _encoder.encode(msgspec.structs.replace(view, traceback=None)).decode(),
        "timestamp": to_micros(view.timestamp),
        **sorted_fields(view),
    }
    if view.hidden:
        own["hidden"] = True  # absent from all others: its index is sparse
    if view.is_over:
        own["ended"] = to_micros(view.updated_at)
    if view.error_message:
        own["error"] = view.error_message.casefold()
    return own


def sorted_fields(view: Execution) -> Document:
    """Return the keys of lists that an execution has: its lateness in seconds, and its progress until it is over."""
    percent = None if view.is_over else view.progress.percent
    return {name: value for name, value in (("late", view.delay), ("progress", percent)) if value is not None}


def execution_of(document: Document) -> Execution:
    """Decode an execution."""
    view = _read(_decode_execution, document["gnomon"]["view"], f"execution {document['_id']}")
    view.traceback = document["traceback"]
    return view


def job_document(state: JobState, position: int) -> Document:
    """Encode the state of a job, with the position of the last event that is folded in."""
    definition = state.definition
    return _checked(
        {
            "_id": state.job_id,
            "job_id": state.job_id,
            "display_name": _shown(state.display_name or definition.get("name") or state.job_id),
            "description": _shown(state.note or definition.get("description") or ""),
            "paused": state.paused,
            "paused_by": state.paused_by,
            "paused_reason": state.paused_reason,
            "removed": state.removed,
            "position": position,
            "state": _encoder.encode(state).decode(),
        },
        f"job {state.job_id}",
    )


def job_of(document: Document) -> JobState:
    """Decode the state of a job, also one of layout 1, in which `paused_reason` was `paused_why`."""
    state = document["state"]
    if "paused_why" in document:
        raw = msgspec.json.decode(state)
        raw["paused_reason"] = raw.pop("paused_why", None)
        state = _encoder.encode(raw).decode()
    return _read(_decode_job, state, f"job {document['_id']}")


def checkpoint_document(name: str, checkpoint: Checkpoint) -> Document:
    """Encode a checkpoint."""
    document = {"_id": name, "position": checkpoint.position, "view": checkpoint.view}
    return _checked(document, f"checkpoint {name}")


def checkpoint_of(document: Document) -> Checkpoint:
    """Decode a checkpoint."""
    return Checkpoint(document["position"], document["view"])


def line_document(execution_id: str, line: LogLine) -> Document:
    """Encode a log line of a run."""
    return {"execution_id": execution_id, "number": line.number, "line": _encoder.encode(line).decode()}


def line_of(document: Document) -> LogLine:
    """Decode a log line."""
    return _read(_decode_line, document["line"], f"line {document['number']} of {document['execution_id']}")


def action_documents(events: Iterable[Event]) -> list[Document]:
    """Encode the operators' actions that these events contain."""
    actions = ((event.position, action_of(event)) for event in events)
    return [_action_document(position, action) for position, action in actions if action is not None]


def _action_document(position: int, action: Action) -> Document:
    fields = msgspec.structs.asdict(action)
    at = fields.pop("at")
    return {"_id": position, **fields, "timestamp": millis(at), "gnomon": {"timestamp": to_micros(at)}}


def action_of_document(document: Document) -> Action:
    """Decode an operator's action."""
    fields = {name: document[name] for name in Action.__struct_fields__ if name != "at"}
    return Action(at=from_micros(document["gnomon"]["timestamp"]), **fields)


def _read(decode: Callable[[str], T], text: str, what: str) -> T:
    try:
        return decode_cut(decode, text)
    except msgspec.DecodeError as exc:
        raise StoreError(f"{what} in the log cannot be read ({exc}): {text[:80]!r}") from exc


def _checked(document: Document, what: str) -> Document:
    """Raise StoreError, before anything is sent, for a document that the server would not accept."""
    if (size := _size(document)) > LARGEST:
        raise StoreError(
            f"{what} is too large for MongoDB: {size:,} bytes, the limit is {LARGEST:,}; keep large data elsewhere"
        )
    return document


def _size(document: Document) -> int:
    """Return the size of a document; a small one is only estimated, since encoding blocks the event loop."""
    texts = [*document.values(), *document.get("gnomon", {}).values()]
    guess = sum(len(text) for text in texts if isinstance(text, str | bytes)) * BSON_PER_JSON
    return guess if guess < LARGEST else len(bson.encode(document))


def _bounded(value: Any, is_small: bool) -> Any:
    shown = _shown(value)
    return shown if is_small or len(bson.encode({"": shown})) <= SHOWN else "… too large to be shown here"


def _shown(value: Any, depth: int = 0) -> Any:
    """Convert any JSON to what BSON, and every server, can hold."""
    if depth > DEEPEST and isinstance(value, dict | list | tuple):
        return _encoder.encode(value).decode()
    if isinstance(value, Mapping):
        return {_key(str(key)): _shown(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(item, depth + 1) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value


def _key(key: str) -> str:
    """Escape what servers reject in keys: a leading `$` (before 5.0), and NUL."""
    key = key.replace("\0", "\\x00")
    return f"\\{key}" if key.startswith("$") else key
