"""The writer's lock: `flock` on a file beside the log, which the system releases however its holder ends."""

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
    """The process that holds the lock, as it writes itself into the lock file."""

    pid: int
    host: str
    since: datetime


class WriterLock:
    """Held by the only process, and the only store in it, that may write.

    SQLite's own locks would let writers take turns, and its WAL-reset bug (3.7.0 to 3.51.2) needs two connections that
    write. The file stays when the lock is released: if it were removed, two processes could lock two files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self) -> None:
        """Acquire the lock, or raise a StoreInUseError that names its holder."""
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
        """Release the lock; does nothing where it is not held."""
        if self._file is None:
            return
        file, self._file = self._file, None
        with suppress(OSError):  # a full disk must not prevent the release
            os.ftruncate(file, 0)
        os.close(file)

    def _write(self, file: int) -> None:
        os.ftruncate(file, 0)  # left by a crashed holder
        holder = Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).replace(microsecond=0))
        os.pwrite(file, msgspec.json.encode(holder) + b"\n", 0)

    def _refusal(self) -> str:
        log = self.path.with_suffix("")
        advice = "stop it first, or use another path; opening read-only works beside it"
        holder = self._holder()
        if holder is None:
            return f"{log} is being opened by another kernel, which has not recorded its process id yet: {advice}"
        since = f"{holder.since:%Y-%m-%d %H:%M:%S} UTC"
        return f"{log} is written by process {holder.pid} on {holder.host} since {since}: {advice}"

    def _holder(self) -> Holder | None:
        """Return the holder; None while a new holder has the lock and the old one's record is still in the file."""
        try:
            holder = msgspec.json.decode(self.path.read_bytes(), type=Holder)
            if holder.host == socket.gethostname():
                os.kill(holder.pid, 0)
        except PermissionError:  # the process exists, and belongs to another user
            return holder
        except (OSError, msgspec.DecodeError):
            return None
        return holder
