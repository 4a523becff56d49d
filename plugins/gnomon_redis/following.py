"""The state of a follower: the newest record seen of each run, its place in the stream, and its patience."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from redis.exceptions import AuthenticationError

from gnomon_redis.progress_record import ProgressRecord, decode

START = b"0-0"
"""The id before the first entry of a stream."""
PAGE = 100
"""Entries of the stream that are read at a time."""
MOST_SEEN = 10_000
"""Runs whose newest record is remembered; the oldest are forgotten first."""


class FollowState:
    """The state of following one run, or the runs of a job; it does no I/O, so both clients share it.

    `unfinished` are the runs that were not over when last seen. `last` is the id of the last entry read from the job's
    stream, None before the first read.
    """

    def __init__(self, patience: float) -> None:
        self.unfinished: set[str] = set()
        self.last: bytes | None = None
        self.ended_before: set[bytes] = set()
        self._patience = patience
        self._ages: dict[str, tuple[int, datetime]] = {}
        self._missing_since: float | None = None

    def begin(self, newest: Any, ended: Iterable[bytes]) -> None:
        """Start after the newest entry of the stream, as returned by XREVRANGE; runs ended before are not reported."""
        self.last = newest[0][0] if newest else START
        self.ended_before = set(ended)

    def has_gap(self, last: bytes, read: int, oldest: Any) -> bool:
        """Whether entries after `last` may have been deleted before they were read.

        `read` is how many were read. `oldest` is the reply to a later XREAD of the stream's first entry.
        """
        if last == START:  # the stream was empty: deleted entries leave no trace, but many must have come
            return read >= PAGE
        entries = oldest[0][1] if oldest else []
        return bool(entries) and _order(entries[0][0]) > _order(last)

    def ended_since(self, ended: Iterable[bytes]) -> set[str]:
        """Return the ended runs that may not have been reported."""
        return {one.decode() for one in set(ended) - self.ended_before}

    def entries(self, found: Any) -> list[bytes]:
        """Return the records of a reply to XREAD, and continue after them."""
        entries = found[0][1] if found else []
        if entries:
            self.last = entries[-1][0]
        return [fields[b"progress"] for _, fields in entries]

    def new_records(self, texts: Iterable[bytes | None]) -> list[ProgressRecord]:
        """Return the records that are newer than those seen before of the same runs."""
        self._missing_since = None
        return [record for text in texts if text is not None and self._is_new(record := decode(text))]

    def missing(self, problem: Exception) -> None:
        """Record that nothing was found; raise `problem` when that has lasted for longer than the patience."""
        now = time.monotonic()
        self._missing_since = now if self._missing_since is None else self._missing_since
        if now - self._missing_since >= self._patience:
            raise problem

    def away(self, problem: Exception) -> None:
        """Record that the server is down; raise at once if it rejects the password, which retrying does not change."""
        if isinstance(problem, AuthenticationError):
            raise problem
        self.missing(problem)

    def _is_new(self, record: ProgressRecord) -> bool:
        seen = self._ages.get(record.execution_id)
        if seen is not None and record.age <= seen:
            return False
        self._ages[record.execution_id] = record.age
        (self.unfinished.discard if record.is_over else self.unfinished.add)(record.execution_id)
        if len(self._ages) > MOST_SEEN:
            del self._ages[next(iter(self._ages))]
        return True


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)
