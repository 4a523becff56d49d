"""The check of `gnomon check --connect`: whether a start would find its log, or could create it. Changes nothing."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from gnomon.domain.kernel_health import Role
from gnomon.errors import RolledBackError, StoreError
from gnomon_sqlite.errors import translate
from gnomon_sqlite.file.high_water import HighWaterMark
from gnomon_sqlite.file.log_file import Synchronous, check_file, check_path
from gnomon_sqlite.file.rollback import refused_loss
from gnomon_sqlite.log import event_rows
from gnomon_sqlite.schema import is_empty
from gnomon_sqlite.views.unflushed_reader import open_reader


def check_connection(path: Path, role: Role, synchronous: Synchronous = "FULL") -> str:
    """Return what was found at the path; StoreError where it cannot hold a log, or has none that could be followed.

    RolledBackError where a kernel that is to lead the log would refuse it, because it has lost events.
    """
    try:
        check_file(path, must_exist=role == "follower")
        _check_permissions(path)
        if role != "follower" and (loss := refused_loss(path, HighWaterMark(path), synchronous)) is not None:
            raise RolledBackError(loss.refusal)
        return _found(path)
    except (sqlite3.Error, OSError) as exc:
        raise translate(exc, path) from exc


def place_problem(path: Path) -> str | None:
    """Return why there can be no log at the path, without opening it; None if there can."""
    try:
        check_path(path)
        _check_permissions(path)
    except StoreError as exc:
        return str(exc)
    return None


def _check_permissions(path: Path) -> None:
    for place in (path, path.parent):  # files beside the log are created and deleted
        if place.exists() and not os.access(place, os.W_OK):
            raise StoreError(f"SQLite log {path} cannot be written: no permission for {place}; check owner and mode")


def _found(path: Path) -> str:
    if path.exists():
        with closing(open_reader(path)) as connection:
            if not is_empty(connection):
                return f"SQLite log {path} is at event {event_rows.head(connection):,}"
    return f"SQLite log {path} does not exist yet: the first start creates it"
