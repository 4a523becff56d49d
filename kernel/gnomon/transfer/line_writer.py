"""Writes the lines of an exported log to a file, which a later export continues."""

from __future__ import annotations

import fcntl
import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec

from gnomon.files import open_private
from gnomon.transfer.line_reader import COMPRESSED, LineReader
from gnomon.transfer.lines import ExportFileError, Header, Place, position_in, seal, split

_OTHER_COMPRESSION = {".zst", ".bz2", ".xz", ".zip"}
_FIRST_WINDOW = 2**20


class LineWriter:
    """The file while it is open: for its owner alone, and for one export at a time.

    `header` is that of an earlier export, and `position` the last event or end of a part that the file has. A part of a
    line that a killed export has left is cut off.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix in _OTHER_COMPRESSION:
            raise ExportFileError(f"{path}: logs are compressed with gzip: name the file {path.with_suffix('.gz')}")
        self.path = path
        self.header: Header | None = None
        self.position = 0
        self.lines = 0
        self._checksum = ""
        self._block: list[bytes] = []
        self._file = -1

    def __enter__(self) -> Self:
        """Open or create the file, and find its end."""
        with self._translated():
            self._file = open_private(self.path)
        try:
            self._lock()
            if os.fstat(self._file).st_size:
                self._resume()
        except BaseException:
            os.close(self._file)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the file; what was not flushed is not in it."""
        os.close(self._file)

    def write(self, kind: str, content: Any) -> None:
        """Add a line, which `flush` writes. Events are given as their JSON."""
        text = content if isinstance(content, bytes) else msgspec.json.encode(content)
        line, self._checksum = seal(kind, text, self._checksum)
        self._block.append(line)
        self.lines += 1

    def flush(self, *, to_disk: bool = False) -> None:
        """Write the lines that were added, as a whole member of a compressed file."""
        block, self._block = b"".join(self._block), []
        if block and self.path.suffix == COMPRESSED:
            block = gzip.compress(block, 6, mtime=0)
        with self._translated():
            view = memoryview(block)
            while view:
                view = view[os.write(self._file, view) :]
            if to_disk:
                os.fsync(self._file)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise ExportFileError(f"{self.path} cannot be written: {exc.strerror or exc}") from exc

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ExportFileError(f"another export writes to {self.path}: wait until it has ended") from exc

    def _resume(self) -> None:
        self.header = LineReader(self.path).header()
        self._cut(self._read_through() if self.path.suffix == COMPRESSED else self._read_back())

    def _cut(self, end: Place) -> None:
        """Cut off what a killed export has left behind the last whole line, and write on from there."""
        self._checksum = end.checksum
        with self._translated():
            os.ftruncate(self._file, end.offset)
            os.lseek(self._file, 0, os.SEEK_END)

    def _read_through(self) -> Place:
        """Read a compressed file from its beginning: only so the begin of its last member can be found."""
        reader, position = LineReader(self.path), 0
        end = reader.end
        for line in reader:
            if reader.end != end:  # the lines before are in whole members
                self.position, end = position, reader.end
            position = position_in(line.kind, line.content) or position
        if not reader.is_torn or reader.end != end:
            self.position = position
        return reader.end

    def _read_back(self) -> Place:
        """Read the end of the file: its last whole line, and the last one with a position."""
        size, window = os.fstat(self._file).st_size, _FIRST_WINDOW
        while True:
            start = max(size - window, 0)
            tail = os.pread(self._file, size - start, start)
            whole = tail[: tail.rfind(b"\n") + 1]
            lines = whole.splitlines(keepends=True)[start > 0 :]
            positions = (position_in(*split(text)[:2]) for text in reversed(lines))
            self.position = next(filter(None, positions), 0)
            if self.position or not start:
                return Place(start + len(whole), 0, split(lines[-1])[2])
            window *= 4
