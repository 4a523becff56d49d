"""The high-water mark: the newest position of a log, in a file beside it, which reveals a log that went back."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gnomon.stores.mark_file import MarkFile

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Mark(NamedTuple):
    """The id of a log, its newest position, and the boot of the machine in which that was written."""

    log_id: str
    position: int
    boot: str


class HighWaterMark(MarkFile):
    """Written after each commit. It is never ahead of a log with synchronous=FULL."""

    def __init__(self, database: Path) -> None:
        super().__init__(database.with_name(f"{database.name}.mark"))
        self._log_id = ""
        self._boot = current_boot()
        self._found: Mark | None = None

    def find(self) -> Mark | None:
        """Return the mark, None where there is none; DamagedMarkError where it cannot be read.

        Where its file is gone, it is the one that was read last: a standby whose log was moved away creates no new one.
        """
        if (line := self.read()) is not None:
            try:
                log_id, position, boot = line.decode().split()
                self._found = Mark(log_id, int(position), boot)
            except ValueError as exc:
                raise self.damaged(line) from exc
        return self._found

    def start(self, log_id: str, position: int) -> None:
        """Start to write the mark of this log."""
        self._log_id = log_id
        self.open(self._line(position))

    def note(self, position: int) -> None:
        """Record that the log has reached a position."""
        self.write(self._line(position))

    def _line(self, position: int) -> bytes:
        return f"{self._log_id:24} {position:020} {self._boot:36}".encode()


def current_boot() -> str:
    """Return the id of the boot of this machine; `-` where the system has none."""
    try:
        return _BOOT_ID.read_text(encoding="utf-8").strip()
    except OSError:
        return "-"
