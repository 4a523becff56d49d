"""The watch over the open files: they must be those at the path, and whole, and there must be space left.

    healthy ──► low space ──► healthy          less than `min_free` bytes are free: degraded, appends go on
       └──────► lost                           for good: what is written from now on would be lost

SQLite continues to write to a file that was deleted or replaced, and reports success. The watch checks twice a second,
so the kernel is deposed within 2 s; events acknowledged in between are in the file that is no longer at the path.
"""

from __future__ import annotations

import os
import shutil
import struct
import threading
from contextlib import suppress
from pathlib import Path

INTERVAL_S = 0.5
_MAGIC = b"SQLite format 3\0"
_WAL_HEADER, _FRAME_HEADER = 32, 24


class FileWatch:
    """Watches the files of an open log in its own thread, because a disk that hangs must block nothing else.

    `database` is a descriptor of the database file. No other descriptor of it may ever be closed by this process: that
    would drop SQLite's locks.
    """

    def __init__(self, path: Path, database: int, min_free: int) -> None:
        self.lost = ""
        self.low_space = ""
        self._path = path
        self._wal, self._shm = path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")
        self._database = database
        self._min_free = min_free
        self._size = os.fstat(database).st_size
        self._wal_id = _identity(self._wal)
        # Kept open: closing a descriptor of the file would drop SQLite's locks on it.
        self._shm_file = os.open(self._shm, os.O_RDONLY | os.O_CLOEXEC)
        self._suspect = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gnomon-sqlite-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the descriptor; call it after all connections are closed."""
        os.close(self._shm_file)

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        self.check()
        while not self.lost and not self._stop.wait(INTERVAL_S):
            self.check()

    def check(self) -> None:
        """Check the files once."""
        if problem := self._replaced():
            self.lost = problem
        elif problem := self._cut():
            # Files change between two looks at them: only a finding that stays is true.
            self.lost, self._suspect = (problem if problem == self._suspect else ""), problem
        else:
            self._suspect = ""
        with suppress(OSError):
            free = shutil.disk_usage(self._path.parent).free
            self.low_space = "" if free >= self._min_free else _low_space(self._path, free, self._min_free)

    def _replaced(self) -> str:
        now, ours = _identity(self._path), os.fstat(self._database)
        if now is None:
            return f"the log {self._path} was deleted or moved while it was open"
        if now != (ours.st_dev, ours.st_ino):
            return f"the log {self._path} was replaced by another file while it was open"
        if _identity(self._wal) != self._wal_id:
            return f"{self._wal}, a part of the log, was deleted or replaced while it was open"
        return ""

    def _cut(self) -> str:
        size, header = os.fstat(self._database).st_size, os.pread(self._database, 100, 0)
        if size and header[:16] != _MAGIC:
            return f"the log {self._path} was overwritten while it was open"
        page_size = int.from_bytes(header[16:18], "big") or 4096
        page_size = 65536 if page_size == 1 else page_size
        pages = int.from_bytes(header[28:32], "big")
        # It shrinks by a vacuum too, whose page count is in the header by then.
        if (size < self._size and size < pages * page_size) or (not size and self._size):
            return f"the log {self._path} was truncated while it was open"
        self._size = max(size, 0)
        frames = _frames(self._shm_file)
        with suppress(OSError):
            if frames and self._wal.stat().st_size < _WAL_HEADER + frames * (_FRAME_HEADER + page_size):
                return f"{self._wal}, a part of the log, was truncated while it was open"
        return ""


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _frames(shm: int) -> int:
    """Return the number of frames in the WAL, from the header of its index (sqlite.org/walformat.html, 2.1)."""
    header = os.pread(shm, 20, 0)
    return int(struct.unpack_from("=I", header, 16)[0]) if len(header) == 20 else 0


def _low_space(path: Path, free: int, min_free: int) -> str:
    return (
        f"only {free // 2**20:,} MiB are free on the disk of {path}, less than {min_free // 2**20:,} MiB: free some "
        "space before it is full"
    )
