"""The writer's lock: `flock` on the database file itself, which the system releases however its holder ends."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gnomon.errors import StoreInUseError, UnsafeFileError
from gnomon.files import make_private, open_private, user_name
from gnomon.logs import get_logger

log = get_logger("gnomon.sqlite")

_open_files: dict[int, tuple[int, int]] = {}
"""Descriptors of locked files, with device and inode. A forked child closes its copies, which would hold the lock after
the parent is gone."""


LOCKS_ARE_SEPARATE = sys.platform == "linux"
"""Elsewhere `flock` on the database would conflict with SQLite's own locks: there a hard link is another log."""


class Holder(msgspec.Struct):
    """The process that holds the lock, as it writes itself into the lock file."""

    pid: int
    host: str
    since: datetime


_ADVICE = "stop it first, or use another path; opening read-only works beside it"
_ADVICE_HERE = 'that is this process: use its kernel, make this one with role="follower", or use another path'


class WriterLock:
    """Held by the only process, and the only store in it, that may write.

    SQLite's own locks would let writers take turns, and its WAL-reset bug (3.7.0 to 3.51.2) needs two connections that
    write. Two files are locked: the database, so that a hard link or a bind mount of it is the same log, and a file
    beside it with the record of the holder. That file stays when the lock is released: if it were removed, two
    processes could lock two files. SQLite locks byte ranges (`fcntl`), which `flock` does not affect on a local disk;
    but closing any descriptor of the database drops the byte-range locks of the process, so this one is closed last.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}.lock")
        self.database = database
        self._locked: dict[Path, int] = {}
        self._refused = self.path

    @property
    def database_file(self) -> int:
        """The descriptor of the locked database file."""
        return self._locked[self.database]

    def acquire(self, check: Callable[[], None] = lambda: None) -> None:
        """Acquire the lock and create the database file, or raise a StoreInUseError that names the holder.

        `check` runs when nobody else can write to an existing database, and before anything is created.
        """
        try:
            for suffix in ("-wal", "-shm"):
                _check_part(self.database.with_name(f"{self.database.name}{suffix}"))
            if self.database.exists():  # SQLite must not open another link of a file that is open elsewhere
                self._lock(self.database)
            check()
            self._lock(self.path)
            if self.database not in self._locked:
                self._lock(self.database)
            self._record()
        except BlockingIOError as exc:
            finding = self._finding()
            self.release()
            is_here = _is_open_here(self._refused)  # the file that was opened for the lock does not count any more
            error = StoreInUseError(f"{finding}: {_ADVICE_HERE if is_here else _ADVICE}")
            error.is_here = is_here
            raise error from exc
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Release the lock; does nothing where it is not held."""
        if len(self._locked) == 2:
            with suppress(OSError):  # a full disk must not prevent the release
                os.ftruncate(self._locked[self.path], 0)
        while self._locked:
            _, file = self._locked.popitem()
            _open_files.pop(file, None)
            os.close(file)

    def _lock(self, path: Path) -> None:
        self._refused = path
        if _is_open_here(path):
            raise BlockingIOError  # without opening it: see above
        before = path.stat() if path.exists() else None
        file = open_private(path)
        opened = os.fstat(file)
        if path == self.path and opened.st_nlink > 1:  # its content is replaced
            os.close(file)
            raise UnsafeFileError(path, "has another name too, and would be overwritten there", "remove it")
        self._locked[path] = file
        _open_files[file] = opened.st_dev, opened.st_ino
        if path == self.path or LOCKS_ARE_SEPARATE:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._pass_strangers(path, before or opened)

    def _pass_strangers(self, path: Path, file: os.stat_result) -> None:
        """Raise BlockingIOError, unless only processes of users who cannot write the file hold its lock.

        They opened it while its mode was wider. None of them can be a kernel: a kernel opens its files for writing.
        """
        holders = [pid for pid in flock_holders(file) if pid != os.getpid()]
        strangers = {pid: uid for pid in holders if (uid := _stranger(pid, file)) is not None}
        if not holders or len(strangers) < len(holders):
            raise BlockingIOError
        for pid, uid in strangers.items():
            log.warning(
                "another user holds a lock on this file; it is ignored", path=str(path), pid=pid, user=user_name(uid)
            )

    def _record(self) -> None:
        file = self._locked[self.path]
        os.ftruncate(file, 0)  # left by a crashed holder
        holder = Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).replace(microsecond=0))
        os.pwrite(file, msgspec.json.encode(holder) + b"\n", 0)

    def _finding(self) -> str:
        if (holder := self.recorded_holder()) is not None:
            since = f"{holder.since:%Y-%m-%d %H:%M:%S} UTC"
            return f"{self.database} is written by process {holder.pid} on {holder.host} since {since}"
        for pid in self._others():
            return f"{self.database} is held open by process {pid} ({_command(pid)})"
        return f"{self.database} is being opened by another kernel, which has not recorded its process id yet"

    def _others(self) -> list[int]:
        """Return the other processes that have a file open which could not be locked."""
        with suppress(OSError):
            return _processes_with(self._refused.stat())
        return []

    def recorded_holder(self, known: Holder | None = None) -> Holder | None:
        """Return the holder of the lock file, or None where its record is not that of a process that holds it.

        One that is `known` to be that is not checked again, which takes a look at every process.
        """
        try:
            holder = msgspec.json.decode(self.path.read_bytes(), type=Holder)
        except (OSError, msgspec.DecodeError):
            return None
        if holder == known or holder.host != socket.gethostname():
            return holder
        if holder.pid == os.getpid():
            return holder if _is_open_here(self._refused) else None
        try:
            os.kill(holder.pid, 0)
        except PermissionError:  # the process exists, and belongs to another user
            return holder
        except OSError:
            return None
        holders = self._others()
        return holder if holder.pid in holders or not holders else None


def _is_open_here(path: Path) -> bool:
    """Return whether this process has locked the file, by this name or another."""
    with suppress(FileNotFoundError):
        found = path.stat()
        return (found.st_dev, found.st_ino) in _open_files.values()
    return False


def _check_part(path: Path) -> None:
    """Check a file of SQLite's, which follows links, and narrow it as the database is."""
    with suppress(FileNotFoundError):
        path.lstat()
        make_private(path)


def _processes_with(file: os.stat_result) -> list[int]:
    """Return the other processes that have a file open, as far as /proc shows them."""
    try:
        processes = [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()]
    except OSError:
        return []
    return [pid for pid in processes if pid != os.getpid() and _has_open(Path(f"/proc/{pid}/fd"), file)]


def _has_open(folder: Path, file: os.stat_result) -> bool:
    with suppress(OSError):  # it has ended, or belongs to another user
        for entry in folder.iterdir():
            with suppress(OSError):
                if os.path.samestat(entry.stat(), file):
                    return True
    return False


def flock_holders(file: os.stat_result) -> list[int]:
    """Return the processes that hold a `flock` on a file: /proc/locks names them for all users."""
    place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    holders = []
    with suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            _, kind, _, _, pid, locked, *_ = line.split()
            if kind == "FLOCK" and locked == place:  # the second column of a line that waits is an arrow
                holders.append(int(pid))
    return holders


def _stranger(pid: int, file: os.stat_result) -> int | None:
    """Return the user of a process if that user cannot write the file, else None."""
    with suppress(OSError):
        uid = Path(f"/proc/{pid}").stat().st_uid
        is_shared = file.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        return None if is_shared or uid in {0, os.geteuid(), file.st_uid} else uid
    return None


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:100]
    return "unknown command"


def _close_in_child() -> None:
    for file in _open_files:
        with suppress(OSError):
            os.close(file)
    _open_files.clear()


os.register_at_fork(after_in_child=_close_in_child)
