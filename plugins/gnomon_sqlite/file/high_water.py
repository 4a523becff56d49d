"""The high-water mark: the newest position of a log, in a file beside it, which reveals a log that went back."""

from __future__ import annotations

import os
import threading
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gnomon.errors import StoreError
from gnomon.files import open_private
from gnomon.logs import get_logger

log = get_logger("gnomon.sqlite")

_MAX_BYTES = 200
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Mark(NamedTuple):
    """The id of a log, its newest position, and the boot of the machine in which that was written."""

    log_id: str
    position: int
    boot: str


class DamagedMarkError(StoreError):
    """The file of the mark exists, and is not what a kernel wrote."""


class HighWaterMark:
    """Written after each commit: 2 µs, without a flush to disk, which a killed process does not need.

    A power cut may leave it behind the log, which is harmless. It is never ahead of a log with synchronous=FULL.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}.mark")
        self._file = -1
        self._log_id = ""
        self._position = 0
        self._boot = current_boot()
        self._found: Mark | None = None
        self._lock = threading.Lock()

    def read(self) -> Mark | None:
        """Return the mark, None where there is none; DamagedMarkError where it cannot be read.

        Where its file is gone, it is the one that was read last: a standby whose log was moved away creates no new one.
        """
        try:
            file = open_private(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return self._found
        with os.fdopen(file, "rb") as opened:
            line = opened.read(_MAX_BYTES)
        try:
            log_id, position, boot, *checksum = line.decode().split()
            if checksum and int(checksum[0], 16) != zlib.crc32(_content(log_id, int(position), boot)):
                raise ValueError(checksum)
            self._found = Mark(log_id, int(position), boot)
        except ValueError as exc:
            raise DamagedMarkError(f"{self.path} is damaged: {line[:60]!r}") from exc
        return self._found

    def open(self, log_id: str, position: int) -> None:
        """Start to write the mark of this log, and make sure that the file survives a power cut."""
        self._log_id = log_id
        self._file = open_private(self.path)
        self.write(position)
        with suppress(OSError):
            os.fsync(self._file)

    def write(self, position: int) -> None:
        """Record that the log has reached a position; a full disk must not make an append fail that is durable."""
        with self._lock:
            self._position = position
            self._write()

    def restore(self) -> None:
        """Write the mark again where its file was deleted or replaced while the log is open."""
        with suppress(OSError):
            if os.path.samestat(os.fstat(self._file), self.path.lstat()):
                return
        log.warning("the high-water mark was deleted or replaced; it is written again", path=str(self.path))
        with suppress(OSError, StoreError), self._lock:
            self._file, old = open_private(self.path), self._file
            os.close(old)
            self._write()

    def _write(self) -> None:
        content = _content(self._log_id, self._position, self._boot)
        with suppress(OSError):
            os.pwrite(self._file, b"%b %08x\n" % (content, zlib.crc32(content)), 0)

    def close(self) -> None:
        """Write it to disk and close the file."""
        if self._file >= 0:
            with suppress(OSError):
                os.fsync(self._file)
            os.close(self._file)
            self._file = -1


def _content(log_id: str, position: int, boot: str) -> bytes:
    return f"{log_id:24} {position:020} {boot:36}".encode()


def current_boot() -> str:
    """Return the id of the boot of this machine; `-` where the system has none."""
    try:
        return _BOOT_ID.read_text(encoding="utf-8").strip()
    except OSError:
        return "-"
