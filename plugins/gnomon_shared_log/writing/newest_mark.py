"""The mark beside a spool: the newest event that the server has acknowledged, so that a start notices what it has lost.

The server may lose acknowledged events in a failover, or when a backup is restored. It cannot know that; the machine of
the kernel that appended them does.
"""

from __future__ import annotations

import binascii
from pathlib import Path
from typing import NamedTuple

from gnomon.logs import get_logger
from gnomon.stores.mark_file import DamagedMarkError, MarkFile

log = get_logger("gnomon.shared_log")


class Marked(NamedTuple):
    """The id of a log, the identity of its newest event, and its place, empty where an older version wrote the mark."""

    log_id: str
    identity: bytes
    place: str


class NewestMark(MarkFile):
    """The id and the place of the log and the identity of the event, written after each append."""

    def __init__(self, spool: Path) -> None:
        super().__init__(spool.with_name(f"{spool.name}.mark"))
        self._log_id = self._place = b""

    def find(self) -> Marked | None:
        """Return what is known of the newest event of a log; None for nothing."""
        try:
            if (line := self.read()) is None:
                return None
            log_id, _, rest = line.partition(b" ")
            body, _, place = rest.partition(b" ")
            identity = self._parse(body)
            return Marked(log_id.decode(), identity, self._parse(place).decode()) if identity else None
        except DamagedMarkError as exc:
            log.warning("the mark beside the spool is damaged: a lost part of the log goes unnoticed", problem=str(exc))
            return None

    def _parse(self, body: bytes) -> bytes:
        try:
            return binascii.a2b_base64(body, strict_mode=True)
        except binascii.Error as exc:
            raise self.damaged(body) from exc

    def start(self, log_id: str, place: str, identity: bytes | None) -> None:
        """Start to write the mark of this log, from this identity on."""
        self._log_id, self._place = log_id.encode(), _encoded(place.encode())
        self.open(self._line(identity or b""))

    def note(self, identity: bytes) -> None:
        """Record that the server has acknowledged an event."""
        self.write(self._line(identity))

    def _line(self, identity: bytes) -> bytes:
        return b"%b %b %b" % (self._log_id, _encoded(identity), self._place)


def _encoded(body: bytes) -> bytes:
    return binascii.b2a_base64(body, newline=False)
