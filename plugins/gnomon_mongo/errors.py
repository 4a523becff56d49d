"""What the drivers say, in the words of the port: the one place where their errors are known."""

from __future__ import annotations

import re
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

DriverError: TypeAlias = PyMongoError | BSONError | OSError | ValueError

DUPLICATE = 11000

# The codes are those of the server's error_codes.yml.
_REFUSED = {
    13: "the user may not do this: grant it the role readWrite on the database",
    18: "there is no such user, or its password is another one: check `uri`, its authSource too",
    8000: "there is no such user, or its password is another one: check `uri`, its authSource too",
}
_NOISE = re.compile(r",? (?:Timeout: |full error: |\(configured timeouts: )")
_LONGEST = 300
"""Characters that are kept of what a driver says, and where it begins to list the whole topology."""


class Refusal(StoreError):
    """The server answers that it will not do this; somebody has to change something: permissions, a validator."""


def translate(exc: DriverError, address: str) -> StoreError:
    """Tell what trying again may help (StoreUnavailableError) from what it cannot (StoreError, Refusal)."""
    said = f"{type(exc).__name__}: {_NOISE.split(str(exc))[0][:_LONGEST]}"
    match exc:
        case ConfigurationError() | ValueError():
            error: StoreError = StoreError(f"MongoDB at {address} cannot be used with this `uri`: {said}")
        case BSONError():
            error = StoreError(f"MongoDB log {address} cannot hold this: {said}")
        case InvalidOperation():
            error = StoreError(f"MongoDB log {address} is not open: {said}")
        case BulkWriteError() if exc.details.get("writeErrors"):
            error = Refusal(f"MongoDB log {address} refuses this: {exc.details['writeErrors'][0].get('errmsg')}")
        case BulkWriteError() | ConnectionFailure() | WriteConcernError() | OSError():
            error = StoreUnavailableError(f"MongoDB log {address} cannot be used now: {said}")
        case PyMongoError(timeout=True):
            error = StoreUnavailableError(f"MongoDB log {address} does not answer in time: {said}")
        case OperationFailure():
            advice = _REFUSED.get(exc.code or 0, "look at the server's log")
            error = Refusal(f"MongoDB log {address} refuses this: {advice} ({said})")
        case _:
            error = StoreError(f"MongoDB log {address} cannot be used: {said}")
    return error


def without_secrets(uri: str) -> str:
    """Name the servers of a URI, to be shown: without user, password and options."""
    return uri.partition("://")[2].rpartition("@")[2].partition("?")[0].rstrip("/") or "(no server named)"
