"""The watch over the open files: they must be those at the path, and whole, and there must be space left.

    healthy ──► low space ──► healthy          less than `min_free` bytes are free: degraded, appends go on
       └──────► lost                           for good: what is written from now on would be lost

SQLite continues to write to a file that was deleted or replaced, and reports success. The watch checks twice a second,
so the kernel is deposed within 2 s; events acknowledged in between are in the file that is no longer at the path.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gnomon.files import file_identity
from gnomon_sqlite.file.wal_check import WalCheck

INTERVAL_S = 0.5
MAGIC = b"SQLite format 3\0"


class FileWatch:
    """Watches the files of an open log in its own thread, because a disk that hangs must block nothing else.

    `database` is a descriptor of the database file. No other descriptor of it may ever be closed by this process: that
    would drop SQLite's locks. `restore_mark` is called at each look.
    """

    def __init__(self, path: Path, database: int, min_free: int, restore_mark: Callable[[], None]) -> None:
        self.lost = ""
        self.low_space = ""
        self._path = path
        self._database = database
        self._min_free = min_free
        self._restore_mark = restore_mark
        self._size = os.fstat(database).st_size
        self._wal = WalCheck(path)
        self._look = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gnomon-sqlite-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the descriptors; call it after all connections are closed."""
        self._wal.close()

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
        if self.check_files():
            self._restore_mark()
        with suppress(OSError):
            free = shutil.disk_usage(self._path.parent).free
            self.low_space = "" if free >= self._min_free else _low_space(self._path, free, self._min_free)

    def check_files(self) -> bool:
        """Return whether the files are those at their paths, and whole; once lost, a log stays lost."""
        with self._look, suppress(OSError):  # what needs the disk reports that it cannot be read
            self.lost = self.lost or self._replaced() or self._wal.problem() or self._cut()
        return not self.lost

    @property
    def wal_pages(self) -> int:
        """The number of pages in the WAL."""
        return self._wal.pages

    def _replaced(self) -> str:
        now, ours = file_identity(self._path), os.fstat(self._database)
        if now is None:
            return f"the log {self._path} was deleted or moved while it was open"
        if now != (ours.st_dev, ours.st_ino):
            return f"the log {self._path} was replaced by another file while it was open"
        if (part := self._wal.replaced()) is not None:
            return f"{part}, a part of the log, was deleted or replaced while it was open"
        return ""

    def _cut(self) -> str:
        """One look is enough: SQLite writes page 1 with the number of pages before it cuts the file, never after."""
        size, header = os.fstat(self._database).st_size, os.pread(self._database, 100, 0)
        if size and header[:16] != MAGIC:
            return f"the log {self._path} was overwritten while it was open"
        page_size = int.from_bytes(header[16:18], "big") or 4096
        page_size = 65536 if page_size == 1 else page_size
        pages = int.from_bytes(header[28:32], "big")
        # It shrinks by a vacuum too, whose page count is in the header by then.
        if (size < self._size and size < pages * page_size) or (not size and self._size):
            return f"the log {self._path} was truncated while it was open"
        self._size = max(size, 0)
        return ""


def _low_space(path: Path, free: int, min_free: int) -> str:
    return (
        f"only {free // 2**20:,} MiB are free on the disk of {path}, less than {min_free // 2**20:,} MiB: free some "
        "space before it is full"
    )
