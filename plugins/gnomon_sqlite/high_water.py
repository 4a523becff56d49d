"""The high-water mark: the newest position of a log, in a file beside it, which reveals a log that went back."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Mark(NamedTuple):
    """The id of a log, its newest position, and the boot of the machine in which that was written."""

    log_id: str
    position: int
    boot: str


class HighWaterMark:
    """Written after each commit: 2 µs, without a flush to disk, which a killed process does not need.

    A power cut may leave it behind the log, which is harmless. It is never ahead of a log with synchronous=FULL.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}.mark")
        self._file = -1
        self._log_id = ""
        self._boot = current_boot()

    def read(self) -> Mark | None:
        """Return the mark; None where there is none, or it was cut off."""
        try:
            log_id, position, boot = self.path.read_text(encoding="utf-8").split()
            return Mark(log_id, int(position), boot)
        except (OSError, ValueError):
            return None

    def open(self, log_id: str, position: int) -> None:
        """Start to write the mark of this log."""
        self._log_id = log_id
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.write(position)

    def write(self, position: int) -> None:
        """Record that the log has reached a position; a full disk must not make an append fail that is durable."""
        with suppress(OSError):
            os.pwrite(self._file, f"{self._log_id:24} {position:020} {self._boot:36}\n".encode(), 0)

    def close(self) -> None:
        """Write it to disk and close the file."""
        if self._file >= 0:
            with suppress(OSError):
                os.fsync(self._file)
            os.close(self._file)
            self._file = -1


def current_boot() -> str:
    """Return the id of the boot of this machine; `-` where the system has none."""
    try:
        return _BOOT_ID.read_text(encoding="utf-8").strip()
    except OSError:
        return "-"
