"""The lines of an exported log, and their checksums.

    {"log":{"version":1,"log_id":"5f0c…","log_format":3,"store":"sqlite","at":"2026-12-01T12:00:00Z"},"sum":"9d1e…"}
    {"checkpoint":{"name":"stats","position":41,"view":"…"},"sum":"…"}
    {"lines":{"execution_id":"692d…","oldest":1,"lines":[{"number":1,"at":"…","level":"info","text":"…"}]},"sum":"…"}
    {"event":{"type":"scheduled","position":1,…},"sum":"…"}
    {"job":{"job_id":"sync",…},"sum":"…"}
    {"end":{"position":41,"at":"…","is_final":false},"sum":"…"}

One JSON object is a line. `log` is the first one. Each export adds a part that ends with `end`: the events behind those
of the part before, in order of their positions, which have gaps where events were pruned. In front of them are what
plugins keep, and the log lines of runs; behind them are the states of jobs, which know of fires that were pruned.
`view` is a run whose progress was pruned, in front of its next event. A line replaces an earlier one about the same.

`sum` is that of the line and of all lines before it, so that a line that was changed, lost or moved is noticed.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from gnomon.domain.events import LOG_FORMAT
from gnomon.domain.records import LogLine
from gnomon.errors import GnomonError

VERSION = 1
"""Version of the file. A later one may have lines that this version does not know."""
_SUM_BYTES = 8
_MARK = b',"sum":"'
_TAIL = len(_MARK) + 2 * _SUM_BYTES + len(b'"}\n')

T = TypeVar("T")


class ExportFileError(GnomonError):
    """The file of an exported log cannot be read or continued; the message names the line and what to do."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: which log it is, and the version of its events."""

    version: int
    log_id: str
    log_format: int
    store: str
    at: datetime


class StoredCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint with its name."""

    name: str
    position: int
    view: bytes | None = None


class RunLines(msgspec.Struct, frozen=True):
    """Log lines of a run; it has none with numbers below `oldest`."""

    execution_id: str
    oldest: int
    lines: list[LogLine]


class KnownFinding(msgspec.Struct, frozen=True, order=True):
    """What the audit of the exported log has found; that of the imported one may find the same."""

    job_id: str
    problem: str
    first: datetime
    last: datetime


class PartEnd(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end of a part: all events up to `position` are in the file. Nothing follows in the log after a final one.

    A final part has what the audit of the fires in since <= fire <= at has found.
    """

    position: int
    at: datetime
    is_final: bool = False
    since: datetime | None = None
    findings: list[KnownFinding] = []


class Place(NamedTuple):
    """Where a file can be read from: an offset in bytes, the number of lines before it, and their checksum."""

    offset: int = 0
    line: int = 0
    checksum: str = ""


BEGIN = Place()


class Line(NamedTuple):
    """A line: its kind, the JSON of its content, its number from 1, and a place from which it can be read again."""

    kind: str
    content: bytes
    number: int
    place: Place


class _Placed(msgspec.Struct):
    position: int = 0


_decode_position = msgspec.json.Decoder(_Placed).decode


def seal(kind: str, content: bytes, previous: str) -> tuple[bytes, str]:
    """Return a line and its checksum, which follows from that of the line before."""
    body = b'{"%b":%b' % (kind.encode(), content)
    checksum = _checksum(body, previous)
    return b'%b%b%b"}\n' % (body, _MARK, checksum.encode()), checksum


def split(text: bytes) -> tuple[str, bytes, str]:
    """Return the kind, the content and the checksum of a line, without checking it."""
    kind, _, content = text[2:-_TAIL].partition(b'":')
    return kind.decode("ascii", "replace"), content, text[-_TAIL + len(_MARK) : -3].decode("ascii", "replace")


def unseal(text: bytes, previous: str, number: int, path: Path) -> tuple[str, bytes, str]:
    """Return the kind, the content and the checksum of a line; ExportFileError where it is not as written."""
    if text[-_TAIL:][: len(_MARK)] != _MARK or not text.startswith(b'{"'):
        raise ExportFileError(f"line {number:,} of {path} is not a line of an exported log: {text[:60]!r}")
    kind, content, checksum = split(text)
    if _checksum(text[:-_TAIL], previous) != checksum:
        raise ExportFileError(
            f"line {number:,} of {path} was changed, or lines before it are missing or of another file (the checksum "
            "differs): copy the file again, or export the log into a new file"
        )
    return kind, content, checksum


def position_in(kind: str, content: bytes) -> int:
    """Return the position of an event or of the end of a part, 0 for another line."""
    return _decode_position(content).position if kind in {"event", "end"} else 0


def parse(line: Line, kind: type[T], path: Path) -> T:
    """Return the content of a line; ExportFileError where it has another form."""
    try:
        return msgspec.json.decode(line.content, type=kind)
    except msgspec.DecodeError as exc:
        raise ExportFileError(f"line {line.number:,} of {path} cannot be parsed: {exc}") from exc


def check_header(header: Header, path: Path) -> None:
    """Raise ExportFileError for a file of a newer version."""
    if header.version > VERSION or header.log_format > LOG_FORMAT:
        raise ExportFileError(
            f"{path} was written by a newer Gnomon: its version is {header.version} and that of its events "
            f"{header.log_format}, this one knows {VERSION} and {LOG_FORMAT}; upgrade Gnomon here"
        )


def _checksum(body: bytes, previous: str) -> str:
    return blake2b(body, digest_size=_SUM_BYTES, key=previous.encode()).hexdigest()
