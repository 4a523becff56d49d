"""Reads the documents of an older scheduler: runs, operators' acts, and names of jobs. Nothing is trusted to be there.

The shape is that of applications with APScheduler that keep their history in `scheduler_executions`,
`scheduler_history` and `scheduler_metadata`: an execution has job_id, job_name, status, scheduled_time, timestamp,
updated_at, execution_time, return_value, error_message, traceback, is_manual, cancel_requested, progress,
progress_message, current_item, processed_items and total_items; most may be missing. Their times are local and have no
offset.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from hashlib import blake2b
from typing import Any

import msgspec
from bson import ObjectId

from gnomon.domain.operator_actions import is_reserved
from gnomon.durations import LONGEST_RUN
from gnomon.text import shorten, writable
from gnomon_mongo.drivers import Document

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
ENDED = {
    "success": "success",
    "failed": "failed",
    "missed": "missed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}
OPEN = {"running", "scheduled", "pending"}
NEVER_ENDED = "it was recorded as {status}, and its records have no end of it"
MESSAGE_LIMIT, TRACEBACK_LIMIT = 4 * 1024, 32 * 1024
LONGEST_NAME, LONGEST_NOTE = 50, 200
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""A time outside of these is a placeholder or damage; the log would keep it for ever, as its newest."""
DEEPEST = 32
"""Levels of a return value that stay JSON."""
UNKNOWN_ACTOR = "unknown"
_ACTORS = ("actor", "user", "operator", "username")


class UnreadableError(Exception):
    """A document that cannot be imported; its text is the reason."""


def stream_of(document: Document) -> str:
    """Return the execution id of a record: its own id if that is an ObjectId, so that links to it stay valid."""
    identity = document["_id"]
    if isinstance(identity, ObjectId):
        return str(identity)
    return blake2b(repr(identity).encode("utf-8", "backslashreplace"), digest_size=12).hexdigest()


def execution_fields(document: Document, zone: tzinfo) -> dict[str, Any]:
    """Return the payload of the event `imported`, and `job_id`; raise UnreadableError."""
    rest = {name: value for name, value in document.items() if name != "_id"}
    fields: dict[str, Any] = {"job_id": _job_id(rest)}
    fields["job_name"] = shorten(_text(rest.pop("job_name", None)) or "", 200)
    fields |= _times(document, rest, zone)
    status = rest.pop("status", None)
    message = _text(rest.pop("error_message", None))
    if isinstance(status, str) and status in OPEN:
        rest["status"] = status
        fields |= {"status": "failed", "reason": "lost"}
        message = message or NEVER_ENDED.format(status=status)
    elif isinstance(status, str) and status in ENDED:
        fields["status"] = ENDED[status]
        fields["reason"] = "exception" if status == "failed" else None
    else:
        expected = ", ".join(sorted({*ENDED, *OPEN}))
        raise UnreadableError(f"its status is {status!r:.100}, expected one of {expected}")
    # A missed run took no time; what its record says stays in `record`, as do durations that no run can have.
    took = None if fields["status"] == "missed" else _number(rest, "execution_time", LONGEST_RUN.total_seconds())
    if took is None and fields["status"] == "success":
        took = min(fields["ended_at"] - fields["started_at"], LONGEST_RUN).total_seconds()
    trace = _text(rest.pop("traceback", None))
    fields |= {
        "execution_time": took,
        "error_message": shorten(message, MESSAGE_LIMIT) if message else None,
        "traceback": shorten(trace, TRACEBACK_LIMIT) if trace else None,
        "return_value": plain(rest.pop("return_value", None)),
        "is_manual": rest.pop("is_manual", False) is True,
        "cancel_requested": rest.pop("cancel_requested", False) is True,
        "percent": _percent(rest),
        "message": _text(rest.pop("progress_message", None)),
        "current_item": _text(rest.pop("current_item", None)),
        "processed_items": _count(rest, "processed_items"),
        "total_items": _count(rest, "total_items"),
    }
    return fields | {"record": {writable(str(name)): plain(value) for name, value in rest.items() if value is not None}}


def _times(document: Document, rest: Document, zone: tzinfo) -> dict[str, datetime]:
    recorded, due = moment(rest, "timestamp", zone), moment(rest, "scheduled_time", zone)
    ended = moment(rest, "updated_at", zone)
    identity = document["_id"]
    started = recorded or due or (identity.generation_time if isinstance(identity, ObjectId) else None)
    if started is None:
        raise UnreadableError("it has neither a timestamp nor a scheduled_time")
    return {"scheduled_time": due or started, "started_at": started, "ended_at": max(ended or started, started)}


def action_fields(document: Document, zone: tzinfo) -> dict[str, Any]:
    """Return the payload of the event `action_imported`, and `job_id`; raise UnreadableError."""
    rest = dict(document)
    fields: dict[str, Any] = {"job_id": _job_id(rest), "source_id": str(document["_id"])}
    fields["acted_at"] = moment(rest, "timestamp", zone)
    if fields["acted_at"] is None:
        raise UnreadableError("it has no timestamp")
    if not (action := _text(rest.get("action"))):
        raise UnreadableError("it has no action")
    status = rest.get("status", "success")
    if not isinstance(status, str) or status not in {"success", "failed"}:
        raise UnreadableError(f"its status is {status!r:.100}, expected success or failed")
    text = _text(rest.get("error_message"))
    text = shorten(text, MESSAGE_LIMIT) if text else None
    actor = next((name for key in _ACTORS if (name := _text(rest.get(key)))), UNKNOWN_ACTOR)
    fields |= {"action": shorten(action, 100), "status": status}
    # The older scheduler put remarks about acts that succeeded into the same field.
    fields |= {"error_message": text} if status == "failed" else {"reason": text}
    return fields | {"actor": UNKNOWN_ACTOR if is_reserved(actor) else shorten(actor, 200)}


class Description(msgspec.Struct, frozen=True):
    """The name and the note that an operator gave a job; `is_cut` if they were longer than a log keeps."""

    job_id: str
    display_name: str
    note: str
    is_cut: bool


def description_of(document: Document) -> Description:
    """Return the description of a job; raise UnreadableError."""
    rest = dict(document)
    job_id = _job_id(rest)
    name, note = (" ".join((_text(rest.get(key)) or "").split()) for key in ("display_name", "description"))
    short = _cut(name, LONGEST_NAME), _cut(note, LONGEST_NOTE)
    return Description(job_id, *short, short != (name, note))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _job_id(rest: Document) -> str:
    job_id = rest.pop("job_id", None)
    if not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):
        raise UnreadableError(f"its job_id is {job_id!r:.100}, expected {JOB_ID.pattern}")
    return job_id


def moment(rest: Document, name: str, zone: tzinfo) -> datetime | None:
    """Remove and return a time of a document; dates of BSON and texts without an offset are times of the zone."""
    value = rest.pop(name, None)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as exc:
            raise UnreadableError(f"its {name} is {value!r:.100}, expected a date or an ISO 8601 text") from exc
        aware = value if value.tzinfo is not None else value.replace(tzinfo=zone)
    elif isinstance(value, datetime):  # the driver has marked it as UTC
        aware = value.replace(tzinfo=zone)
    elif value is None:
        return None
    else:
        raise UnreadableError(f"its {name} is {value!r:.100}, expected a date")
    try:
        found = aware.astimezone(UTC)
    except (OverflowError, ValueError) as exc:
        raise UnreadableError(f"its {name} is {value!r:.100}, which is out of range") from exc
    if not EARLIEST <= found < LATEST:
        raise UnreadableError(f"its {name} is {value!r:.100}, expected a time from {EARLIEST.year} to {LATEST.year}")
    return found


def _text(value: Any) -> str | None:
    return None if value is None else writable(value if isinstance(value, str) else str(plain(value)))


def _number(rest: Document, name: str, most: float = sys.float_info.max) -> float | None:
    """Remove and return a number of a document from 0 to `most`; any other value stays there."""
    value = rest.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return None
    del rest[name]
    return float(value)


def _count(rest: Document, name: str) -> int | None:
    value = _number(rest, name)
    return int(value) if value is not None and value < 2**63 else None


def _percent(rest: Document) -> float | None:
    value = _number(rest, "progress")
    return min(value, 100.0) if value is not None else None


def plain(value: Any, depth: int = 0) -> Any:
    """Return a BSON value as JSON has it: what JSON does not know, or what is too deep, becomes text."""
    if isinstance(value, Mapping) and depth < DEEPEST:
        return {writable(str(key)): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and depth < DEEPEST:
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # BSON has a subclass for 64 bits
    if value is None or isinstance(value, bool) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return writable(value.isoformat() if isinstance(value, datetime) else str(value))
