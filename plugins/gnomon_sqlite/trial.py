"""Look whether a start would find, or could make, its log: for `gnomon check --connect`. Nothing is changed."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from gnomon.errors import StoreError
from gnomon_sqlite import commits
from gnomon_sqlite.database import check_file, is_empty
from gnomon_sqlite.errors import translate
from gnomon_sqlite.tail import open_reader


def try_file(path: Path) -> str:
    """Tell what is there; StoreError where no log could be kept there."""
    try:
        check_file(path, must_exist=False)
        _check_permissions(path)
        return _found(path)
    except (sqlite3.Error, OSError) as exc:
        raise translate(exc, path) from exc


def _check_permissions(path: Path) -> None:
    for place in (path, path.parent):  # files come and go beside the log
        if place.exists() and not os.access(place, os.W_OK):
            raise StoreError(f"SQLite log {path} cannot be written: no permission for {place}; check owner and mode")


def _found(path: Path) -> str:
    if path.exists():
        with closing(open_reader(path)) as connection:
            if not is_empty(connection):
                return f"SQLite log {path} is at event {commits.head(connection):,}"
    return f"SQLite log {path} is not there yet: the first start makes it"
