"""Logs that went back: what is at the path is compared with the high-water mark, before anything is written.

    mark, log       with its id, at the mark or after it     behind it, another log, empty, or missing
    none, or at 0   opens                                    opens (a first start)
    of this log     opens                                    refused until the loss is accepted
    damaged         opens with a warning                     refused until the loss is accepted

A crash leaves the mark at the log or behind it, never ahead: it is written after the commit is durable.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from gnomon.domain.rollback import Rollback
from gnomon.errors import RolledBackError
from gnomon.logs import get_logger
from gnomon_sqlite import event_rows
from gnomon_sqlite.connection import connect, insert
from gnomon_sqlite.high_water import DamagedMarkError, HighWaterMark, Mark, current_boot
from gnomon_sqlite.schema import is_empty, schema_version
from gnomon_sqlite.wal_check import remaining_wal

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
    with closing(connect(path, "ro", sqlite3.Connection)) as connection:
        if is_empty(connection):
            return FoundLog("", 0, "has no tables")
        version = schema_version(connection)
        table, column = ("commits", "last") if version >= _FIRST_SCHEMA_WITH_ROWS_OF_EVENTS else ("events", "position")
        position = connection.execute(f"SELECT ifnull(max({column}), 0) FROM {table}").fetchone()[0]  # noqa: S608 - our own names
        if version < _FIRST_SCHEMA_WITH_ID:
            return FoundLog("", position, f"is a log of an older version, which ends at event {position:,}")
        row = connection.execute("SELECT log_id FROM identity").fetchone()
        return FoundLog(row[0] if row else "", position, f"ends at event {position:,}")


def find_loss(path: Path, mark: HighWaterMark, *, may_lose_the_newest: bool, accept: bool) -> Rollback | None:
    """Return what the log has lost, None for nothing; RolledBackError where that was not accepted.

    With `may_lose_the_newest` the log was written with synchronous=NORMAL, whose last moments a power cut may take.
    """
    found = find_log(path)
    try:
        marked = mark.read()
    except DamagedMarkError as exc:
        if found.log_id:
            log.warning("the high-water mark is damaged: a lost part of the log would go unnoticed", problem=str(exc))
            return None
        return _accepted(Rollback(found.position, found.position), _refusal(path, found, f"{exc}"), accept=accept)
    if marked is None:
        if found.log_id and found.position:
            log.warning(
                "the log has no high-water mark: if this is a restored copy, later runs may run again", path=str(path)
            )
        if not path.exists() or path.stat().st_size or not remaining_wal(path):
            return None
        what = f"{path.name}-wal beside it is not, and SQLite would delete that"
        return _accepted(Rollback(0, 0), _refusal(path, found, what), accept=accept)
    if not marked.position or (found.log_id == marked.log_id and found.position >= marked.position):
        return None
    rollback = Rollback(found.position, max(found.position, marked.position))
    had_power_cut = found.log_id == marked.log_id and marked.boot != current_boot()
    return _accepted(
        rollback,
        _refusal(path, found, _contrast(mark, marked, found)),
        accept=accept or (may_lose_the_newest and had_power_cut),
    )


def _accepted(rollback: Rollback, refusal: str, *, accept: bool) -> Rollback:
    if not accept:
        raise RolledBackError(refusal)
    log.warning("the loss of acknowledged events was accepted", last_event=rollback.last, lost_until=rollback.expected)
    return rollback


def _contrast(mark: HighWaterMark, marked: Mark, found: FoundLog) -> str:
    if found.log_id and found.log_id != marked.log_id:
        return f"{mark.path.name} is of another log, which had reached event {marked.position:,}"
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
        insert(connection, f"INTO {event_rows.COMMITS}", [event_rows.tombstone(last, newest)])
    (log_id,) = connection.execute("SELECT log_id FROM identity").fetchone()
    mark.open(log_id, last)
