"""Translation of the errors of SQLite and of the file system into those of the port."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gnomon.errors import StoreError, StoreUnavailableError

_LOCKED = "another program has locked the file: close it (a `sqlite3` shell in a transaction?)"

_TRANSIENT = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space; pending events are written then",
    sqlite3.SQLITE_IOERR: "the disk reports an error: look at the system's log",
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_NOMEM: "there is no memory left",
    sqlite3.SQLITE_READONLY: "the file has become read-only: check its permissions and how its disk is mounted",
    sqlite3.SQLITE_CANTOPEN: "the file, or one beside it, cannot be opened: check permissions and open-file limits",
}

_PERMANENT = {
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database, or its header is damaged: use another path or a backup",
    sqlite3.SQLITE_CORRUPT: "the database is damaged: stop, keep a copy, and restore a backup",
}


def translate(exc: sqlite3.Error | OSError | UnicodeDecodeError, path: Path) -> StoreError:
    """Return StoreUnavailableError for a problem that may pass, StoreError for one that stays."""
    if isinstance(exc, UnicodeDecodeError):
        return StoreError(f"SQLite log {path} cannot be used: {_PERMANENT[sqlite3.SQLITE_CORRUPT]} ({exc})")
    if isinstance(exc, PermissionError):
        return StoreError(f"SQLite log {path} cannot be opened: no permission for {exc.filename}; check owner and mode")
    if isinstance(exc, OSError):
        return StoreUnavailableError(f"SQLite log {path} cannot be opened now: {exc}")
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF  # extended codes keep the kind in the low byte
    if code in _TRANSIENT:
        return StoreUnavailableError(f"SQLite log {path} cannot be used now: {_TRANSIENT[code]} ({exc})")
    advice = _PERMANENT.get(code, "this is a bug, please report it")
    return StoreError(f"SQLite log {path} cannot be used: {advice} ({exc})")
