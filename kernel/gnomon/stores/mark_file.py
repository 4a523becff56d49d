"""A mark: a file with one line that says how far a log has been acknowledged, and reveals one that went back.

The line is written in place after each append: in 2 µs, without a flush to disk, which a killed process does not need.
A power cut may leave an older line, which is harmless.
"""

from __future__ import annotations

import os
import re
import threading
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Final

from gnomon.errors import StoreError
from gnomon.files import open_private
from gnomon.logs import get_logger

log = get_logger("gnomon.stores")

_LINE: Final = re.compile(rb"(.*?)(?: ([0-9a-f]{8}))?\n?")
"""The content and its CRC-32, which the first version did not write."""


class DamagedMarkError(ValueError):
    """The file of a mark is not what a kernel wrote; each store decides what follows."""


class MarkFile:
    """One line of a store that leads; its threads may write it at the same time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1
        self._content = b""
        self._lock = threading.Lock()

    def read(self) -> bytes | None:
        """Return what was written last, None where there is no file; DamagedMarkError where it cannot be read."""
        try:
            file = open_private(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        with os.fdopen(file, "rb") as opened:
            line = opened.readline()
        found = _LINE.fullmatch(line)
        if found is None or (found[2] is not None and int(found[2], 16) != zlib.crc32(found[1])):
            raise self.damaged(line)
        return found[1]

    def damaged(self, line: bytes) -> DamagedMarkError:
        """Return the error for a line that is not what a kernel wrote."""
        return DamagedMarkError(f"{self.path} is damaged: {line[:60]!r}")

    def open(self, content: bytes) -> None:
        """Start to write, and make sure that the file survives a power cut."""
        self._file = open_private(self.path)
        self.write(content)
        self.flush()

    def write(self, content: bytes) -> None:
        """Write another line; a full disk must not make an append fail that is durable."""
        with self._lock:
            self._content = content
            self._write()

    def restore(self) -> None:
        """Write the line again where its file was deleted or replaced while it is open."""
        if self._file < 0:
            return
        with suppress(OSError):
            if os.path.samestat(os.fstat(self._file), self.path.lstat()):
                return
        log.warning("the mark of the log was deleted or replaced; it is written again", path=str(self.path))
        with suppress(OSError, StoreError), self._lock:
            self._file, old = open_private(self.path), self._file
            os.close(old)
            self._write()

    def flush(self) -> None:
        """Write it to disk, if that is possible."""
        with suppress(OSError):
            os.fsync(self._file)

    def close(self) -> None:
        """Write it to disk and close the file, if it is open."""
        if self._file >= 0:
            self.flush()
            with self._lock:
                file, self._file = self._file, -1
                os.close(file)

    def _write(self) -> None:
        with suppress(OSError):
            os.pwrite(self._file, b"%b %08x\n" % (self._content, zlib.crc32(self._content)), 0)
