"""Reads the lines of an exported log, compressed or not, in constant memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gnomon.transfer.lines import BEGIN, ExportFileError, Header, Line, Place, check_header, parse, unseal

LONGEST_LINE = 512 * 2**20
"""Bytes of a line, at most: what plugins keep may have some hundred megabytes."""
_CHUNK = 256 * 1024
_GZIP = 31
"""The window bits with which zlib reads the header of gzip, too."""
COMPRESSED = ".gz"


class LineReader:
    """Iterates over the lines from a place on, and checks each.

    After the last line, `end` is the place behind the last whole line, or the last whole member of a compressed file,
    and `is_torn` says whether something follows that is not whole.
    """

    def __init__(self, path: Path, place: Place = BEGIN) -> None:
        self.path = path
        self.end = place
        self.is_torn = False

    def __iter__(self) -> Iterator[Line]:
        """Yield the lines; ExportFileError for the first that is not as written."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.end.offset)
                yield from self._members(file) if self.path.suffix == COMPRESSED else self._plain(file)
        except OSError as exc:
            raise ExportFileError(f"{self.path} cannot be read: {exc.strerror or exc}") from exc

    def header(self) -> Header:
        """Return the first line."""
        for line in LineReader(self.path):
            if line.kind != "log":
                break
            header = parse(line, Header, self.path)
            check_header(header, self.path)
            return header
        raise ExportFileError(f"{self.path} does not look like an exported log: its first line has no `log`")

    def _plain(self, file: IO[bytes]) -> Iterator[Line]:
        while text := file.readline(LONGEST_LINE):
            if not text.endswith(b"\n"):
                self._expect_not_too_long(text)
                self.is_torn = True
                return
            place = self.end
            line, checksum = self._line(text, place, place)
            self.end = Place(place.offset + len(text), line.number, checksum)
            yield line

    def _members(self, file: IO[bytes]) -> Iterator[Line]:
        """Read members of gzip, each of which has whole lines: a place is the begin of one."""
        waiting = b""
        while waiting or (waiting := file.read(_CHUNK)):
            member, place, current, rest = zlib.decompressobj(_GZIP), self.end, self.end, b""
            size = 0
            while not member.eof:
                if not waiting and not (waiting := file.read(_CHUNK)):
                    self.is_torn = True
                    return
                text = self._inflated(member, waiting, current)
                left = member.unused_data or member.unconsumed_tail  # behind the end of the member, or within it
                size += len(waiting) - len(left)
                waiting = left
                *whole, rest = (rest + text).splitlines(keepends=True) or [b""]
                if rest.endswith(b"\n"):
                    whole, rest = [*whole, rest], b""
                self._expect_not_too_long(rest)
                for one in whole:
                    line, checksum = self._line(one, current, place)
                    current = Place(place.offset, line.number, checksum)
                    yield line
            if rest:
                raise ExportFileError(f"{self.path} is damaged behind line {current.line:,}: export the log again")
            self.end = Place(place.offset + size, current.line, current.checksum)

    def _inflated(self, member: zlib._Decompress, compressed: bytes, current: Place) -> bytes:
        try:
            return member.decompress(compressed, _CHUNK)
        except zlib.error as exc:
            raise ExportFileError(
                f"{self.path} is damaged behind line {current.line:,} ({exc}): copy the file again, or export the log "
                "into a new file"
            ) from exc

    def _line(self, text: bytes, before: Place, place: Place) -> tuple[Line, str]:
        number = before.line + 1
        kind, content, checksum = unseal(text, before.checksum, number, self.path)
        return Line(kind, content, number, place), checksum

    def _expect_not_too_long(self, text: bytes) -> None:
        if len(text) >= LONGEST_LINE:
            raise ExportFileError(
                f"{self.path} does not look like an exported log: it has a line of {len(text):,} bytes"
            )
