"""The spool: batches accepted while the server was down, kept in order in a local SQLite file until they are written.

It is not a second log: it contains only what waits, and is normally empty. Ends of runs that could not be
accepted are kept beside the batches (kept_ends.py).
"""

from __future__ import annotations

import asyncio
import ctypes
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Generic, TypeVar

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.records import Checkpoint
from gnomon.errors import StoreError, StoreInUseError, StoreUnavailableError
from gnomon.files import make_private
from gnomon.forks import abandon_in_children
from gnomon.logs import get_logger
from gnomon_shared_log.ports.batch import B, BatchCodec, EventIdentity
from gnomon_shared_log.writing.newest_mark import NewestMark

T = TypeVar("T")
log = get_logger("gnomon.shared_log")

APPLICATION_ID = 0x676E7370
"""`gnsp`: SQLite stores this number in the header of the file, which identifies a spool."""
DRAIN_EVENTS = 500
DRAIN_BYTES = 16 * 1024 * 1024
"""The events, and their bytes, that are taken from the spool and written in one batch."""

_SCHEMA = """
    CREATE TABLE entries (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        made_at REAL NOT NULL,
        events INTEGER NOT NULL,
        last INTEGER NOT NULL,
        body BLOB NOT NULL
    );
    CREATE TABLE executions (id TEXT PRIMARY KEY, number INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE log (id TEXT NOT NULL);
"""
_PLACE = "ALTER TABLE log ADD COLUMN place TEXT NOT NULL DEFAULT ''"
_ENDS = """
    CREATE TABLE IF NOT EXISTS ends (
        stream TEXT, version INTEGER, body BLOB NOT NULL, PRIMARY KEY (stream, version)
    ) WITHOUT ROWID
"""


class Spool(Generic[B]):
    """Stores batches durably (WAL, synchronous=FULL) on its own thread, first in, first out.

    `events` is the number of waiting events, `size` their bytes, `oldest` the Unix time of the first. After `open`
    these are known without disk access. One process uses the file at a time.
    """

    def __init__(self, path: Path, codec: BatchCodec[B]) -> None:
        self.path = path
        self._codec = codec
        self.entries = self.events = self.size = 0
        self.oldest: float | None = None
        self._mark = NewestMark(path)
        self._newest: bytes | None = None
        self._dropped = 0  # entries up to this number are written, but could not be deleted on a full disk
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self.entries == 0

    def check_folder(self) -> None:
        """Raise StoreError if the folder of the file does not exist."""
        if not self.path.parent.is_dir():
            raise StoreError(
                f"the spool {self.path} cannot be created: the folder {self.path.parent} does not exist; create it"
            )

    async def open(self) -> None:
        """Open or create the file; raise StoreError if it is not a spool, StoreInUseError if it is in use."""
        abandon_in_children(self)
        self._thread = ThreadPoolExecutor(1, "gnomon-spool")
        try:
            await self._do(self._acquire)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the file; what waits is kept for the next start."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown()

    async def look(self) -> tuple[int, int]:
        """Open it, and return how many events wait and their bytes; StoreInUseError while it is used."""
        if not self.path.exists():
            return 0, 0
        try:
            await self.open()
            return self.events, self.size
        finally:
            await self.close()

    def abandon(self, parent: int) -> None:  # noqa: ARG002 - every call says that the spool is not open
        """Keep the connection for ever in a forked child: SQLite would delete the WAL of the parent at its end."""
        self._thread = None
        if (connection := getattr(self, "_connection", None)) is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    async def belongs_to(self, log_id: str, place: str) -> None:
        """Bind the spool to a log and its place; raise StoreError if it contains events of another log."""
        await self._do(lambda: self._belongs_to(log_id, place))

    async def known_log(self) -> tuple[str, str] | None:
        """Return the id of the log to which the spool is bound, and its place; empty where an older version did it."""
        return await self._do(self._known_log)

    @property
    def newest(self) -> EventIdentity | None:
        """The newest event that the server has acknowledged to kernels with this spool; None if that is not known."""
        return self._codec.decode_identity(self._newest) if self._newest is not None else None

    def note_newest(self, event: EventIdentity) -> None:
        """Record an event that the server has acknowledged, in the mark beside the file: it survives a SIGKILL."""
        self._newest = event.body
        self._mark.note(event.body)

    async def flush_newest(self) -> None:
        """Write the mark to disk, so that it survives a power cut."""
        await self._do(self._flush_newest)

    async def put_ends(self, ends: list[tuple[str, int, bytes]]) -> None:
        """Keep ends of runs (stream, version, event) beside the batches; durable when it returns."""
        await self._do(lambda: self._put_ends(ends))

    async def ends(self) -> list[tuple[str, int, bytes]]:
        """Return the ends of runs that are kept."""
        return await self._do(lambda: self._execute("SELECT stream, version, body FROM ends").fetchall())

    async def drop_ends(self) -> None:
        """Delete the ends of runs that are kept."""
        await self._do(lambda: self._execute("DELETE FROM ends"))

    async def put(self, batch: B) -> None:
        """Add a batch at the end; durable when it returns."""
        await self._do(lambda: self._put(batch))

    async def first(self) -> tuple[B, int] | None:
        """Return what is to be written next, entries merged into one batch, and the number to `drop` afterwards."""
        return await self._do(self._first)

    async def drop(self, number: int) -> None:
        """Delete the entries up to a number, which have been written."""
        await self._do(lambda: self._drop(number))

    async def execution(self, execution_id: str) -> Execution | None:
        """Return the newest waiting view of an execution."""
        return await self._do(lambda: self._execution(execution_id))

    async def after(self, position: int, limit: int) -> list[Event]:
        """Return up to `limit` waiting events after a position."""
        return await self._do(lambda: self._after(position, limit))

    async def checkpoint(self, name: str) -> Checkpoint | None:
        """Return the newest waiting checkpoint of that name."""
        return await self._do(lambda: self._checkpoint(name))

    async def set_aside(self) -> Path:
        """Rename the file, for inspection, and continue with an empty one."""
        known = await self.known_log()
        await self.close()
        aside = self.path.with_name(f"{self.path.name}.refused-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        self.path.rename(aside)
        await self.open()
        if known is not None:
            await self.belongs_to(*known)
        return aside

    async def _do(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            raise StoreError(f"the spool {self.path} is not open")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._translated, work)

    def _translated(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (sqlite3.Error, OSError) as exc:
            with suppress(sqlite3.Error, AttributeError):
                self._connection.rollback()
            if getattr(exc, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise StoreInUseError(
                    f"the spool {self.path} is in use by another kernel: give each kernel its own"
                ) from exc
            raise StoreUnavailableError(
                f"the spool {self.path} cannot be used now: check its folder, its permissions and its disk ({exc})"
            ) from exc

    # --- from here on: the spool's own thread ---

    def _acquire(self) -> None:
        self._open()
        known = self._known_log()  # a new file knows none, and ignores the mark of one that was moved away
        self._newest = self._marked(known[0]) or self._newest_of_older_version() if known is not None else None

    def _open(self) -> None:
        self.check_folder()
        make_private(self.path)  # SQLite gives the files beside it the same mode
        self._connection = sqlite3.connect(self.path, timeout=0.5, isolation_level=None, check_same_thread=False)
        # Set before WAL: then SQLite uses no shared memory file, and a second process is refused.
        self._execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            (application_id,) = self._execute("PRAGMA application_id").fetchone()
            is_new = self._execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
        except sqlite3.DatabaseError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
                raise
            raise StoreError(f"{self.path} is not a spool and not a database: use another path for the spool") from exc
        if not is_new and application_id != APPLICATION_ID:
            raise StoreError(f"{self.path} is the SQLite database of another program: use another path for the spool")
        self._execute("PRAGMA journal_mode = WAL")
        self._execute("PRAGMA synchronous = FULL")
        if is_new:
            self._connection.executescript(f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; {_SCHEMA} COMMIT;")
        self._execute(_ENDS)
        if "place" not in {row[1] for row in self._execute("PRAGMA table_info(log)")}:
            self._execute(_PLACE)
        self._dropped = 0
        self.entries, self.events, self.size = self._sums("1")
        self.oldest = self._oldest()

    def _close(self) -> None:
        self._mark.close()
        with suppress(AttributeError, sqlite3.Error), closing(self._connection):
            self._execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _known_log(self) -> tuple[str, str] | None:
        found: tuple[str, str] | None = self._execute("SELECT id, place FROM log").fetchone()
        return found

    def _belongs_to(self, log_id: str, place: str) -> None:
        known = self._known_log()
        if known is not None and known[0] != log_id:
            self._newest = None
            if self.entries:
                raise StoreError(
                    f"the spool {self.path} holds {self.events} events of another log: set the configuration back to "
                    "that log and start once to write them there, or rename the file"
                )
        if known != (log_id, place):
            self._bind(log_id, place)
        self._mark.start(log_id, place, self._newest)
        self._execute("DROP TABLE IF EXISTS newest")

    def _bind(self, log_id: str, place: str) -> None:
        with self._connection:
            self._execute("BEGIN")
            self._execute("DELETE FROM log")
            self._execute("INSERT INTO log (id, place) VALUES (?, ?)", log_id, place)

    def _marked(self, log_id: str) -> bytes | None:
        marked = self._mark.find()
        return marked.identity if marked is not None and marked.log_id == log_id else None

    def _newest_of_older_version(self) -> bytes | None:
        """Return what a version that wrote no mark has recorded."""
        if self._execute("SELECT 1 FROM sqlite_master WHERE name = 'newest'").fetchone() is None:
            return None
        row = self._execute("SELECT body FROM newest").fetchone()
        return row[0] if row else None

    def _flush_newest(self) -> None:
        self._mark.restore()
        self._mark.flush()

    def _put_ends(self, ends: list[tuple[str, int, bytes]]) -> None:
        with self._connection:
            self._execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO ends (stream, version, body) VALUES (?, ?, ?)", ends)

    def _put(self, batch: B) -> None:
        body, made_at = self._codec.encode(batch), time.time()
        row = (made_at, batch.event_count, batch.last, body)
        with self._connection:
            self._execute("BEGIN IMMEDIATE")
            number = self._execute(
                "INSERT INTO entries (made_at, events, last, body) VALUES (?, ?, ?, ?)", *row
            ).lastrowid
            self._connection.executemany(
                "INSERT OR REPLACE INTO executions (id, number, body) VALUES (?, ?, ?)",
                [(id_, number, view) for id_, view in self._codec.encode_executions(batch)],
            )
        self.entries, self.events, self.size = self.entries + 1, self.events + batch.event_count, self.size + len(body)
        self.oldest = self.oldest or made_at

    def _first(self) -> tuple[B, int] | None:
        cursor = self._execute(
            "SELECT number, events, body FROM entries WHERE number > ? ORDER BY number", self._dropped
        )
        merged, number, events, size = self._codec.empty(), 0, 0, 0
        for number, count, body in cursor:  # noqa: B007 - the number of the last one that was taken
            merged.add(self._codec.decode(body))
            events, size = events + max(count, 1), size + len(body)
            if events >= DRAIN_EVENTS or size >= DRAIN_BYTES:
                break
        cursor.close()
        return (merged, number) if number else None

    def _drop(self, number: int) -> None:
        entries, events, size = self._sums("number > ? AND number <= ?", self._dropped, number)
        try:
            with self._connection:
                self._execute("BEGIN IMMEDIATE")
                self._execute("DELETE FROM entries WHERE number <= ?", number)
                self._execute("DELETE FROM executions WHERE number <= ?", number)
        except sqlite3.OperationalError as exc:
            # Deleting needs space too, and on a disk that the spool has filled there would never be any.
            log.warning("written entries cannot be deleted from the spool yet", spool=str(self.path), problem=str(exc))
            self._dropped = number
        self.entries, self.events, self.size = self.entries - entries, self.events - events, self.size - size
        self.oldest = self._oldest()
        if self.is_empty and self._dropped:
            self._start_over()
        elif self.is_empty:
            self._execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _start_over(self) -> None:
        """Replace the file, in which nothing waits, with an empty one."""
        known = self._known_log()
        self._connection.rollback()
        for name in (f"{self.path.name}-wal", self.path.name):  # between the two steps it is an older, shorter spool
            self.path.with_name(name).unlink(missing_ok=True)
        with suppress(sqlite3.Error):  # it may fail to write back pages, which are not needed
            self._connection.close()
        self._open()
        if known is not None:
            self._bind(*known)

    def _sums(self, where: str, *parameters: object) -> tuple[int, int, int]:
        sums = f"SELECT count(*), total(events), total(length(body)) FROM entries WHERE {where}"  # noqa: S608 - ours
        entries, events, size = self._execute(sums, *parameters).fetchone()
        return entries, int(events), int(size)

    def _oldest(self) -> float | None:
        query = "SELECT made_at FROM entries WHERE number > ? ORDER BY number LIMIT 1"
        row = self._execute(query, self._dropped).fetchone()
        return row[0] if row else None

    def _execution(self, execution_id: str) -> Execution | None:
        query = "SELECT body FROM executions WHERE id = ? AND number > ?"
        row = self._execute(query, execution_id, self._dropped).fetchone()
        return self._codec.decode_execution(row[0]) if row else None

    def _after(self, position: int, limit: int) -> list[Event]:
        found: list[Event] = []
        query = "SELECT body FROM entries WHERE last > ? AND number > ? ORDER BY number"
        cursor = self._execute(query, position, self._dropped)
        for (body,) in cursor:
            found += self._codec.decode(body).events_after(position)
            if len(found) >= limit:
                break
        cursor.close()
        return found[:limit]

    def _checkpoint(self, name: str) -> Checkpoint | None:
        newest: Checkpoint | None = None
        for (body,) in self._execute("SELECT body FROM entries WHERE events = 0 ORDER BY number").fetchall():
            found = self._codec.decode(body).checkpoint(name)
            if found is not None and (newest is None or newest.position <= found.position):
                newest = found
        return newest

    def _execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        return self._connection.execute(sql, parameters)
