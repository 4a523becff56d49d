"""Translates the driver's errors into those of the port."""

from __future__ import annotations

import re

import psycopg

from gnomon.errors import StoreError, StoreUnavailableError
from gnomon_shared_log.errors import Refusal

LONGEST = 300
"""Characters that are kept of a driver's message."""

# The states are those of appendix A of PostgreSQL's manual; a class is the first two characters of its states.
_TRANSIENT_CLASSES = {
    "08",  # connection exception
    "40",  # transaction rollback: serialization, deadlock
    "53",  # insufficient resources: disk full, too many connections
    "57",  # operator intervention: shutdown, cannot connect now, query canceled
    "58",  # system error
}
_TRANSIENT_STATES = {
    "25006",  # read-only transaction: the server is a standby, or was demoted to one
    "25P03",  # idle in transaction for too long
    "25P04",  # the transaction took too long
    "55P03",  # lock not available
}
_ADVICE = {
    "28000": "check the user in `dsn`, and pg_hba.conf",
    "28P01": "check the user and the password in `dsn`",
    "3D000": "create the database, or check its name in `dsn`",
    "3F000": "the schema is gone: was it dropped? A start creates it again, empty",
    "42501": "the role lacks a permission: see the GRANTs in docs/how-to/postgresql.md",
    "42P01": "a table is gone: was it dropped? Restore a backup",
}
# Before it is connected, libpq returns a text and no state.
_REFUSED_CONNECTIONS = (
    (re.compile(r"password authentication failed|no password supplied"), "28P01"),
    (re.compile(r"no pg_hba\.conf entry|role \".*\" does not exist"), "28000"),
    (re.compile(r"database \".*\" does not exist|no such database"), "3D000"),
)


def translate(exc: BaseException, address: str) -> StoreError:
    """Translate an error: StoreUnavailableError if a retry may help, else StoreError or its subclass Refusal."""
    said = f"{type(exc).__name__}: {_shortened(exc)}"
    if isinstance(exc, TimeoutError):
        return StoreUnavailableError(f"{address} does not respond in time")
    state = _state(exc)
    if state is not None and state not in _TRANSIENT_STATES and state[:2] not in _TRANSIENT_CLASSES:
        return Refusal(f"{address} rejects this: {_ADVICE.get(state, 'check the log of the server')} ({said})")
    if isinstance(exc, psycopg.OperationalError | psycopg.InterfaceError | OSError) or state is not None:
        return StoreUnavailableError(f"{address} cannot be used now: {said}")
    if isinstance(exc, psycopg.ProgrammingError):
        return StoreError(f"{address} cannot be used with this `dsn`: {said}")
    return Refusal(f"{address} cannot store this: {said}")


def _state(exc: BaseException) -> str | None:
    """Return the SQLSTATE of an error, None for one that the server did not send."""
    if not isinstance(exc, psycopg.Error):
        return None
    if exc.sqlstate is None and isinstance(exc, psycopg.OperationalError):
        return next((state for pattern, state in _REFUSED_CONNECTIONS if pattern.search(str(exc))), None)
    return exc.sqlstate


def _shortened(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:LONGEST]
