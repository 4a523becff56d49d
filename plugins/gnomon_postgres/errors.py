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
_WRONG_OPTION = "wrong option"
"""Stands for a state where libpq itself refuses an option of the DSN."""
_TOO_MANY = "53300"
_DEPENDENT = "2BP01"
"""Something depends on what is to be dropped; the detail of the error says what."""
_MISSING = (
    "something is not as Gnomon made it: was it dropped or altered? `gnomon check --connect` says what is missing, and "
    "whether a start makes it again; otherwise restore a backup"
)
_ADVICE = {
    _WRONG_OPTION: "check the options in `dsn`",
    "25006": (
        "it is read-only: the server is a standby, or `default_transaction_read_only` is on for the database or the "
        "role, as services set it where the disk is nearly full"
    ),
    "25P03": "a transaction was ended that waited: the kernel was stopped, or its machine is too busy",
    "25P04": "a transaction was ended: `transaction_timeout` is too short for it",
    "28000": "check the user in `dsn`, and pg_hba.conf",
    "28P01": "check the user and the password in `dsn`",
    _DEPENDENT: (
        "the table is one of Gnomon's, and something that another program has made depends on it: drop that, or make "
        "it from the tables `commits` and `ended` and not from their partitions"
    ),
    "3D000": "there is no such database: create it, restore a backup, or check its name in `dsn`",
    "3F000": _MISSING,
    "42501": (
        "the role lacks a permission: `gnomon check --connect` names the statements that grant what is missing, and "
        "docs/how-to/postgresql.md has all GRANTs"
    ),
    "42703": _MISSING,
    "42804": _MISSING,
    "42883": _MISSING,
    "42P01": _MISSING,
    "42P07": "the schema has a table of another program with the name of one of Gnomon's: use another `schema`",
    "53100": "its disk is full: free some space there",
    _TOO_MANY: "no connection is free: end some, raise `max_connections`, or put a pooler in between",
    "55P03": "a lock was not free in time: another program holds it",
    "57014": "it has ended a statement, which was cancelled there",
}
# Before it is connected, libpq returns a text and no state.
_REFUSED_CONNECTIONS = (
    (re.compile(r"password authentication failed|no password supplied"), "28P01"),
    (re.compile(r"no pg_hba\.conf entry|role \".*\" does not exist|is not permitted to log in"), "28000"),
    (re.compile(r"database \".*\" does not exist|no such database"), "3D000"),
    (re.compile(r"too many (?:clients|connections)|connection slots are reserved"), _TOO_MANY),
    (
        re.compile(
            r"invalid [\w ]*value|invalid port number|could not match \d+ (?:port|host)|definition of service|"
            r"does not support SSL|(?:certificate|key) file|certificate verify failed|does not match host name"
        ),
        _WRONG_OPTION,
    ),
)


def translate(exc: BaseException, address: str) -> StoreError:
    """Translate an error: StoreUnavailableError if a retry may help, else StoreError or its subclass Refusal."""
    if isinstance(exc, TimeoutError):
        return StoreUnavailableError(f"{address} does not respond in time")
    state = _state(exc)
    said = f"{type(exc).__name__}: {_shortened(exc)}"
    if advice := _ADVICE.get(state or ""):
        said = f"{advice} ({said})"
    if state is not None and state not in _TRANSIENT_STATES and state[:2] not in _TRANSIENT_CLASSES:
        return Refusal(f"{address} rejects this: {said if advice else f'check the log of the server ({said})'}")
    if isinstance(exc, psycopg.OperationalError | psycopg.InterfaceError | OSError) or state is not None:
        return StoreUnavailableError(f"{address} cannot be used now: {said}")
    if isinstance(exc, psycopg.ProgrammingError):
        return StoreError(f"{address} cannot be used with this `dsn`: {said}")
    return Refusal(f"{address} cannot store this: {said}")


def has_no_room(exc: psycopg.Error) -> bool:
    """Return whether a server, or a pooler, refuses another connection because it has too many."""
    return _state(exc) == _TOO_MANY


def _state(exc: BaseException) -> str | None:
    """Return the SQLSTATE of an error, None for one that the server did not send."""
    if not isinstance(exc, psycopg.Error):
        return None
    if exc.sqlstate is None and isinstance(exc, psycopg.OperationalError):
        return next((state for pattern, state in _REFUSED_CONNECTIONS if pattern.search(str(exc))), None)
    return exc.sqlstate


def _shortened(exc: BaseException) -> str:
    said = None
    if isinstance(exc, psycopg.Error):
        said = exc.diag.message_primary  # without the text of the statement
        if exc.sqlstate == _DEPENDENT and exc.diag.message_detail:
            said = exc.diag.message_detail
    return " ".join((said or str(exc)).split())[:LONGEST]
