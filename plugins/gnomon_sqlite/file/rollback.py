"""Logs that went back: what is at the path is compared with the high-water mark, before anything is written.

    mark, log       with its id, at the mark or after it     behind it, another log, empty, or missing
    none, or at 0   opens                                    opens (a first start)
    of this log     opens                                    refused until the loss is accepted
    damaged         opens with a warning                     refused until the loss is accepted

A crash leaves the mark at the log or behind it, never ahead: it is written after the commit is durable.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from gnomon.domain.rollback import Loss, Rollback
from gnomon.errors import RolledBackError, StoreError
from gnomon.logs import get_logger
from gnomon.stores.commit_rows import tombstone
from gnomon.stores.mark_file import DamagedMarkError
from gnomon_sqlite.connection import OwnConnection, connect, insert
from gnomon_sqlite.file.high_water import HighWaterMark, Mark, current_boot
from gnomon_sqlite.file.log_file import Synchronous
from gnomon_sqlite.file.wal_check import remaining_wal
from gnomon_sqlite.log import event_rows
from gnomon_sqlite.schema import is_empty, schema_version

log = get_logger("gnomon.sqlite")

_FIRST_SCHEMA_WITH_ROWS_OF_EVENTS, _FIRST_SCHEMA_WITH_ID = 3, 6


class FoundLog(NamedTuple):
    """What is at the path of a log: its id (none before schema 6), its newest position, and that in words."""

    log_id: str
    position: int
    text: str


def find_log(path: Path) -> FoundLog:
    """Return what is at the path. SQLite is not asked about an empty file: it deletes the WAL beside one."""
    if not path.exists():
        return FoundLog("", 0, "does not exist")
    if not path.stat().st_size:
        return FoundLog("", 0, "is empty")
    with closing(connect(path, "ro", OwnConnection)) as connection:
        if is_empty(connection):
            return FoundLog("", 0, "has no tables")
        version = schema_version(connection)
        table, column = ("commits", "last") if version >= _FIRST_SCHEMA_WITH_ROWS_OF_EVENTS else ("events", "position")
        position = connection.execute(f"SELECT ifnull(max({column}), 0) FROM {table}").fetchone()[0]  # noqa: S608 - our own names
        if version < _FIRST_SCHEMA_WITH_ID:
            return FoundLog("", position, f"is a log of an older version, which ends at event {position:,}")
        row = connection.execute("SELECT log_id FROM identity").fetchone()
        return FoundLog(row[0] if row else "", position, f"ends at event {position:,}")


def find_loss(path: Path, mark: HighWaterMark, synchronous: Synchronous, *, accept: bool) -> Rollback | None:
    """Return what the log has lost, None for nothing; RolledBackError where that was not accepted.

    The last moments of a log that was written with synchronous=NORMAL may be lost in a power cut.
    """
    loss, is_expected = _compare(path, mark, synchronous, log.warning)
    if loss is None:
        return None
    if not accept and not is_expected:
        raise RolledBackError(loss.refusal)
    lost = loss.rollback
    log.warning("the loss of acknowledged events was accepted", last_event=lost.last, lost_until=lost.expected)
    return lost


def refused_loss(path: Path, mark: HighWaterMark, synchronous: Synchronous) -> Loss | None:
    """Return the loss for which a kernel would refuse the log, None without one; for readers beside a kernel or not."""
    with suppress(sqlite3.Error, OSError, StoreError):  # who reads the log next reports that it cannot be read
        loss, is_expected = _compare(path, mark, synchronous, lambda *_, **__: None)
        return None if is_expected else loss
    return None


def _compare(
    path: Path, mark: HighWaterMark, synchronous: Synchronous, warn: Callable[..., object]
) -> tuple[Loss | None, bool]:
    """Return what the log has lost, and whether that was to be expected after a power cut.

    The mark is read before the log, to which a running kernel may append: its mark follows.
    """
    marked, damage = None, ""
    try:
        marked = mark.find()
    except DamagedMarkError as exc:
        damage = str(exc)
    found = find_log(path)
    if damage:
        if not found.log_id:
            return Loss(Rollback(found.position, found.position), _refusal(path, found, damage)), False
        warn("the high-water mark is damaged: a lost part of the log would go unnoticed", problem=damage)
        return None, False
    if marked is None:
        if found.log_id and found.position:
            warn("the log has no high-water mark: if this is a restored copy, later runs may run again", path=str(path))
        if not path.exists() or path.stat().st_size or not remaining_wal(path):
            return None, False
        what = f"{path.name}-wal beside it is not, and SQLite would delete that"
        return Loss(Rollback(0, 0), _refusal(path, found, what)), False
    if not marked.position or (found.log_id == marked.log_id and found.position >= marked.position):
        return None, False
    rollback = Rollback(found.position, max(found.position, marked.position))
    had_power_cut = found.log_id == marked.log_id and marked.boot != current_boot()
    loss = Loss(rollback, _refusal(path, found, _contrast(mark, marked, found)))
    return loss, synchronous == "NORMAL" and had_power_cut


def _contrast(mark: HighWaterMark, marked: Mark, found: FoundLog) -> str:
    if found.log_id and found.log_id != marked.log_id:
        return f"{mark.path.name} is of another log, which had reached event {marked.position:,}"
    if not mark.path.exists():
        return f"this process has followed it to event {marked.position:,}"
    return f"{mark.path.name} records that it had reached event {marked.position:,}"


def _refusal(path: Path, found: FoundLog, contrast: str) -> str:
    return (
        f"{path} {found.text}, but {contrast}: a backup was restored, or {path.name} or {path.name}-wal was deleted, "
        "cut or replaced. Runs that the log no longer contains would run again. Restore newer files, or accept the "
        "loss: gnomon run --accept-rollback"
    )


def start_mark(connection: sqlite3.Connection, mark: HighWaterMark, rollback: Rollback | None) -> None:
    """Start to write the mark. Lost positions are left out, so that nothing takes later events for the lost ones."""
    newest = event_rows.find_ends(connection, ()).newest
    last = newest[0]
    if rollback is not None and last < rollback.expected:
        last = rollback.expected
        insert(connection, f"INTO {event_rows.COMMITS}", [tombstone(last, newest)])
    (log_id,) = connection.execute("SELECT log_id FROM identity").fetchone()
    mark.start(log_id, last)
