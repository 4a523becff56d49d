"""`gnomon_chores:backup`: copy an SQLite database while it is in use."""

import fcntl
import os
import re
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gnomon import Context
from gnomon.jobs.argument_checks import checks_arguments
from gnomon_chores.arguments import checked_whole, kind
from gnomon_chores.errors import BackupFailed, BadArgument, NotADatabase

MAGIC = b"SQLite format 3\0"
PAGES_PER_STEP = 256  # 1 MiB at the usual page size: a cancellation takes effect within milliseconds
MAX_RESTARTS = 3
BUSY_TIMEOUT_S = 60.0
CHECKPOINT_INSTRUCTIONS = 100_000  # of the virtual machine of integrity_check, between two checkpoints


def check_arguments(*, database: object, directory: object, keep: object = 7, prefix: object = None) -> None:
    """Raise BadArgument for what cannot be a backup; the database may still be created."""
    for argument, value in (("database", database), ("directory", directory)):
        if not isinstance(value, str) or not value:
            raise BadArgument("backup", argument, kind(value), "a path")
    checked_whole("backup", "keep", keep, least=1)
    if prefix is not None and (not isinstance(prefix, str) or not prefix or "/" in prefix or "\0" in prefix):
        raise BadArgument("backup", "prefix", repr(prefix), "the start of a file name, without a slash")


@checks_arguments(check_arguments)
def backup(ctx: Context, *, database: str, directory: str, keep: int = 7, prefix: str | None = None) -> dict[str, Any]:
    """Copy a database to `directory/PREFIX-YYYYmmddTHHMMSSZ.db` (UTC), check the copy, and keep the newest `keep`.

    The database may be written meanwhile: the copy is a snapshot, including what is only in the WAL. Writers of a
    database in WAL mode never wait. A database with a rollback journal is read in small steps; if writers have made the
    copy start over three times, it is copied in one step, during which they wait. `prefix` is by default the database's
    name without its last suffix. Older backups are found by it: set it if two databases of one name share a folder.
    `directory` is created if it does not exist. A copy that is cancelled or fails leaves nothing behind.

    Returns `path`, `bytes`, `pages` and `removed` (names of the old backups that were deleted). Raises NotADatabase,
    BackupFailed, BadArgument.
    """
    source, folder, prefix = checked(database, directory, keep, prefix)
    ctx.checkpoint()
    ctx.steps("copy", "verify", "publish")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with unfinished(folder / f".{prefix}.partial", source) as partial:
            ctx.step("copy")
            pages = copy(ctx, source, partial)
            ctx.step("verify")
            verify(ctx, source, partial)
            ctx.step("publish")
            path = publish(partial, folder, prefix)
        removed = remove_old(folder, prefix, keep)
    except (OSError, sqlite3.Error) as exc:
        raise BackupFailed(database, str(exc), "Check the disk, its free space and the permissions") from exc
    return {"path": str(path), "bytes": path.stat().st_size, "pages": pages, "removed": removed}


def checked(database: str, directory: str, keep: int, prefix: str | None) -> tuple[Path, Path, str]:
    """Return the database, the folder and the prefix; raise BadArgument before anything is touched."""
    check_arguments(database=database, directory=directory, keep=keep, prefix=prefix)
    source = Path(database)
    check_database(source)
    return source, Path(directory), prefix if prefix is not None else source.stem


def check_database(path: Path) -> None:
    """Raise NotADatabase for a file that does not exist or does not start as SQLite databases do."""
    if not path.is_file():
        raise NotADatabase(str(path), "not a file" if path.exists() else "missing")
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as exc:
        raise NotADatabase(str(path), f"not readable ({exc.strerror})") from exc
    if start != MAGIC:
        raise NotADatabase(str(path), "another kind of file (or encrypted)" if start else "empty")


@contextmanager
def unfinished(folder: Path, source: Path) -> Iterator[Path]:
    """Yield a path for the copy in its own folder, and remove the folder with the files that SQLite adds to it.

    The folder has a fixed name and is locked, so that the next backup removes what a killed one has left.
    """
    folder.mkdir(exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(lock)
        raise BackupFailed(
            str(source), f"another backup is writing to {folder}", "Wait for it, or give each job a `prefix` of its own"
        ) from exc
    try:
        for leftover in folder.iterdir():
            leftover.unlink()
        yield folder / "copy.db"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


class RestartedTooOftenError(Exception):
    """Writers have made the copy start over too often."""


def copy(ctx: Context, source: Path, target: Path) -> int:
    """Copy all pages and return their number."""
    # "ro" would leave -wal and -shm files beside a database that no other process had open.
    mode = "rw" if os.access(source, os.W_OK) else "ro"
    address = f"{source.resolve().as_uri()}?mode={mode}"
    target.touch()
    target.chmod(stat.S_IMODE(source.stat().st_mode))  # nobody may read the copy who may not read the database
    reading = sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    with closing(reading), closing(sqlite3.connect(target)) as writing:
        if reading.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            # Hold one snapshot: else every commit of another process makes the copy start over, perhaps for ever.
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        monitor = CopyProgress(ctx, source)
        try:
            reading.backup(writing, pages=PAGES_PER_STEP, progress=monitor.step, sleep=0.05)
        except RestartedTooOftenError:
            reading.backup(writing, pages=-1, progress=monitor.record, sleep=0.05)
        return monitor.total


class CopyProgress:
    """Follows the steps of one copy: reports progress, raises on cancel, notices when SQLite waits or starts over."""

    def __init__(self, ctx: Context, source: Path) -> None:
        self._ctx, self._source = ctx, source
        self.total = 0
        self._remaining: int | None = None
        self._restarts = 0
        self._moved_at = time.monotonic()

    def step(self, status: int, remaining: int, total: int) -> None:
        """Record the result of one small step; raise RestartedTooOftenError if small steps make no progress."""
        if self.record(status, remaining, total):
            # A step leaves less than there was before, unless writers made the copy start over.
            self._restarts += self._remaining is not None and remaining >= self._remaining
            self._remaining = remaining
            if self._restarts > MAX_RESTARTS:
                raise RestartedTooOftenError

    def record(self, status: int, remaining: int, total: int) -> bool:
        """Record the result of a step of any size; return False if the database was locked and nothing was copied."""
        self._ctx.checkpoint()
        if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            if time.monotonic() - self._moved_at > BUSY_TIMEOUT_S:
                raise BackupFailed(
                    str(self._source), f"it was locked for {BUSY_TIMEOUT_S:g} s", "Find the writer that holds the lock"
                )
            return False
        self._moved_at, self.total = time.monotonic(), total
        self._ctx.progress(current_item=self._source.name, processed_items=total - remaining, total_items=total)
        return True


def verify(ctx: Context, source: Path, copied: Path) -> None:
    """Run SQLite's integrity check on the whole copy; raise BackupFailed if it finds a problem."""
    problems: list[str] = []
    with closing(sqlite3.connect(copied)) as connection:
        connection.set_progress_handler(ctx.checkpoint, CHECKPOINT_INSTRUCTIONS)  # an exception ends the check
        try:
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
        except sqlite3.OperationalError:
            ctx.checkpoint()  # the message of SQLite is only "interrupted"
            raise
        except sqlite3.DatabaseError as error:  # so damaged that it could not even be checked
            problems = [str(error)]
    if problems != ["ok"]:
        found = f"its copy is damaged: {'; '.join(map(str, problems))}"
        raise BackupFailed(str(source), found, "Run PRAGMA integrity_check on the database itself")


def publish(copied: Path, folder: Path, prefix: str) -> Path:
    """Rename the copy to its final name, durably."""
    path = folder / f"{prefix}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db"
    sync(copied)
    copied.replace(path)
    sync(folder)
    return path


def sync(path: Path) -> None:
    """Write a file's content, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_old(folder: Path, prefix: str, keep: int) -> list[str]:
    """Delete all but the newest backups of this database and return the names of the deleted ones, oldest first."""
    backups = re.compile(re.escape(prefix) + r"-\d{8}T\d{6}Z\.db")
    names = sorted(path.name for path in folder.iterdir() if backups.fullmatch(path.name))
    for name in names[:-keep]:
        (folder / name).unlink()
    return names[:-keep]
