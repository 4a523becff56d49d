"""The writer's place: `flock` on a file beside the log, which the system gives back however its holder ends."""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gnomon.errors import StoreInUseError


class Holder(msgspec.Struct):
    """Who has the place: written into the lock file by whoever gets it."""

    pid: int
    host: str
    since: datetime


class WriterLock:
    """Held by the one process, and the one store in it, that may write.

    SQLite's own locks let writers take turns, and two connections that write are what its WAL-reset bug needs
    (3.7.0 to 3.51.2). The file stays when the lock is given back: removing it would let two processes lock two files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the place, or raise StoreInUseError that names who has it."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write(file)
        except BlockingIOError as exc:
            os.close(file)
            raise StoreInUseError(self._refusal()) from exc
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def release(self) -> None:
        """Give the place back; nothing happens where it is not held."""
        if self._file is None:
            return
        file, self._file = self._file, None
        with suppress(OSError):  # a full disk does not keep us from leaving
            os.ftruncate(file, 0)
        os.close(file)

    def _write(self, file: int) -> None:
        os.ftruncate(file, 0)  # what a crashed holder left
        holder = Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).replace(microsecond=0))
        os.pwrite(file, msgspec.json.encode(holder) + b"\n", 0)

    def _refusal(self) -> str:
        log = self.path.with_suffix("")
        advice = "stop it first, or use another path; opening read-only works beside it"
        holder = self._holder()
        if holder is None:
            return f"{log} is being opened by another kernel that has not told its name yet: {advice}"
        since = f"{holder.since:%Y-%m-%d %H:%M:%S} UTC"
        return f"{log} is written by process {holder.pid} on {holder.host} since {since}: {advice}"

    def _holder(self) -> Holder | None:
        """Read who has the place; None in the moment when a new holder has the lock and the old one's name stands."""
        try:
            holder = msgspec.json.decode(self.path.read_bytes(), type=Holder)
            if holder.host == socket.gethostname():
                os.kill(holder.pid, 0)
        except PermissionError:  # it is there, as somebody else's process
            return holder
        except (OSError, msgspec.DecodeError):
            return None
        return holder
