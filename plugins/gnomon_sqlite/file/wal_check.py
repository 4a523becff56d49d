"""The check of an open WAL: whether the file still has every frame that the WAL index counts as committed.

    WAL index (shared memory)            WAL file
    salt S, frames N      ─── must ───►  header with salt S, then N frames with salt S

A reader of SQLite trusts the index and reads what is in the file: zeros, after the file was cut and grew again with the
next append. Recovery after a crash stops at the first frame that is not as written, so everything after it is lost,
although it was acknowledged. Formats: sqlite.org/walformat.html.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_INDEX_HEADER = struct.Struct("=3I2BH2I8s8s8s")
"""Version, unused, change counter, is-initialized, big-endian checksums, page size, frames, pages, frame checksum,
salt, checksum. The shared memory begins with two copies."""
_HEADER, _FRAME_HEADER = 32, 24
_SALT_IN_FRAME = 8
_MAGIC = (0x377F0682, 0x377F0683)
WINDOW = 256
"""Frames that are read at once: 1 MiB. Of the frames that were seen before, each look checks so many again."""


class WalIndex(NamedTuple):
    """What the WAL index says about the file: the salt of its frames, their number, and the size of their pages."""

    salt: bytes
    frames: int
    page_size: int

    @property
    def frame_size(self) -> int:
        return _FRAME_HEADER + self.page_size


class WalCheck:
    """Compares the WAL with its index. Neither descriptor is closed before all connections are: see `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}-wal")
        self._shm_path = path.with_name(f"{path.name}-shm")
        self._files: dict[Path, int] = {}
        self._seen = WalIndex(b"", 0, 0)
        self._header = b""
        self._next = 1
        try:
            for file in (self.path, self._shm_path):
                self._files[file] = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the descriptors. Closing one of the index drops SQLite's locks on it, so connections close first."""
        while self._files:
            os.close(self._files.popitem()[1])

    @property
    def pages(self) -> int:
        """The number of pages in the WAL; 0 while that is being changed."""
        index = self._index()
        return index.frames if index is not None else 0

    def replaced(self) -> Path | None:
        """Return the file that is no longer the one at its path."""
        for path, file in self._files.items():
            ours = os.fstat(file)
            try:
                now = path.stat()
            except OSError:
                return path
            if (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino):
                return path
        return None

    def problem(self) -> str:
        """Return what is wrong with the WAL, or an empty string.

        One look is enough. SQLite writes frames before it counts them, and starts the file over only after the index
        has another salt: an index that still has the same salt afterwards was true while the file was read.
        """
        before = self._index()
        if before is None or not before.frames:
            return ""
        problem = self._compare(before)
        after = self._index() if problem else None
        return problem if after is not None and after.salt == before.salt and after.frames >= before.frames else ""

    def _index(self) -> WalIndex | None:
        """Return the index; None while SQLite is writing it, or before it is initialized."""
        size = _INDEX_HEADER.size
        header = os.pread(self._files[self._shm_path], 2 * size, 0)
        if len(header) < 2 * size or header[:size] != header[size:]:
            return None
        _, _, _, is_initialized, _, page_size, frames, _, _, salt, _ = _INDEX_HEADER.unpack_from(header)
        return WalIndex(salt, frames, 65536 if page_size == 1 else page_size) if is_initialized else None

    def _compare(self, index: WalIndex) -> str:
        if index.salt != self._seen.salt:
            self._seen, self._header, self._next = WalIndex(index.salt, 0, index.page_size), b"", 1
        wal = self._files[self.path]
        header = os.pread(wal, _HEADER, 0)
        if os.fstat(wal).st_size < _HEADER + index.frames * index.frame_size:
            return f"{self.path}, a part of the log, was truncated while it was open"
        is_known = header == self._header or not self._header
        if not is_known or header[16:24] != index.salt or int.from_bytes(header[:4], "big") not in _MAGIC:
            return f"{self.path}, a part of the log, was overwritten while it was open"
        self._header = header
        # A file that was cut has a hole from there to the next frame: the newest frame of the last look is in it, or
        # one after that.
        first, old = max(self._seen.frames, 1), self._next
        for start, end in ((first, index.frames), (old, min(old + WINDOW - 1, first))):
            if lost := self._first_lost(index, start, end):
                return (
                    f"{self.path}, a part of the log, was cut or overwritten while it was open: frame {lost:,} of "
                    f"{index.frames:,} is not as written"
                )
        self._seen, self._next = index, (old + WINDOW if old + WINDOW <= first else 1)
        return ""

    def _first_lost(self, index: WalIndex, start: int, end: int) -> int:
        """Return the first of these frames that does not have the salt, or 0."""
        size = index.frame_size
        for first in range(start, end + 1, WINDOW):
            count = min(WINDOW, end + 1 - first)
            found = os.pread(self._files[self.path], count * size, _HEADER + (first - 1) * size)
            for number in range(count):
                salt = number * size + _SALT_IN_FRAME
                if found[salt : salt + len(index.salt)] != index.salt:
                    return first + number
        return 0


def remaining_wal(path: Path) -> bool:
    """Return whether a WAL with frames lies beside the database."""
    with suppress(OSError):
        return path.with_name(f"{path.name}-wal").stat().st_size > _HEADER
    return False
