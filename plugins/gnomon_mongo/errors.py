"""Translates the drivers' errors into those of the port."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from bson.errors import BSONError
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)

from gnomon.errors import StoreError, StoreUnavailableError
from gnomon_mongo.drivers import Document
from gnomon_shared_log.errors import Refusal

DriverError: TypeAlias = PyMongoError | BSONError | OSError | ValueError

DUPLICATE = 11000
TRANSIENT = frozenset({50, 89, 91, 112, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436, 14031})
"""Codes of a server that shuts down, loses an election, is too slow or has no disk space: a retry may help."""

# The codes are those of the server's error_codes.yml.
_REFUSED = {
    13: "the user lacks a permission: grant it the role readWrite on the database",
    18: "unknown user or wrong password: check `uri`, including its authSource",
    8000: "unknown user or wrong password: check `uri`, including its authSource",
}
_NOISE = re.compile(r",? (?:Timeout: |full error: |\(configured timeouts: )")
_LONGEST = 300
"""Characters that are kept of a driver's message, which is cut where it lists the whole topology (_NOISE)."""


class EventRejectedError(Refusal):
    """The server rejects one event, the one at `position`; those before it are written."""

    def __init__(self, address: str, event: Document, problem: str) -> None:
        super().__init__(
            f"MongoDB log {address} rejects event {event['_id']} ({event['type']} of {event['stream']}): {problem}"
        )
        self.position = event["_id"]
        self.problem = problem


def only_duplicates(exc: BulkWriteError) -> bool:
    """Whether duplicate keys are all that is wrong with a bulk write."""
    failed = exc.details.get("writeErrors") or []
    is_confirmed = not exc.details.get("writeConcernErrors")
    return bool(failed) and is_confirmed and all(error.get("code") == DUPLICATE for error in failed)


def is_rejection(exc: BulkWriteError) -> bool:
    """Whether the server has rejected documents, and a retry cannot help."""
    failed = exc.details.get("writeErrors") or []
    is_confirmed = not exc.details.get("writeConcernErrors")
    return bool(failed) and is_confirmed and not any(error.get("code") in TRANSIENT for error in failed)


def rejected_event(exc: BulkWriteError, events: Sequence[Document | None], address: str) -> EventRejectedError | None:
    """Return the error about the event that an ordered append has stopped at; None if nothing was rejected."""
    if not is_rejection(exc):
        return None
    error = exc.details["writeErrors"][0]
    event = events[error["index"]]
    return EventRejectedError(address, event, str(error.get("errmsg"))[:_LONGEST]) if event is not None else None


def translate(exc: DriverError, address: str) -> StoreError:
    """Translate an error: StoreUnavailableError if a retry may help, else StoreError or its subclass Refusal."""
    said = f"{type(exc).__name__}: {_NOISE.split(str(exc))[0][:_LONGEST]}"
    match exc:
        case ConfigurationError() | ValueError():
            error: StoreError = StoreError(f"MongoDB at {address} cannot be used with this `uri`: {said}")
        case BSONError():
            error = StoreError(f"MongoDB log {address} cannot store this: {said}")
        case InvalidOperation():
            error = StoreError(f"MongoDB log {address} is not open: {said}")
        case BulkWriteError() if is_rejection(exc):
            error = Refusal(f"MongoDB log {address} rejects this: {exc.details['writeErrors'][0].get('errmsg')}")
        case BulkWriteError() | ConnectionFailure() | WriteConcernError() | OSError():
            error = StoreUnavailableError(f"MongoDB log {address} cannot be used now: {said}")
        case PyMongoError(timeout=True):
            error = StoreUnavailableError(f"MongoDB log {address} does not respond in time: {said}")
        case OperationFailure():
            advice = _REFUSED.get(exc.code or 0, "check the server's log")
            error = Refusal(f"MongoDB log {address} rejects this: {advice} ({said})")
        case _:
            error = StoreError(f"MongoDB log {address} cannot be used: {said}")
    return error


def without_secrets(uri: str) -> str:
    """Return the servers of a URI for display: without user, password and options."""
    return uri.partition("://")[2].rpartition("@")[2].partition("?")[0].rstrip("/") or "(no server given)"
