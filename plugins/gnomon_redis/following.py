"""What is known while progress is followed: what was seen, where the stream goes on, since when there is nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from redis.exceptions import AuthenticationError

from gnomon_redis.record import ProgressRecord, decode

MOST_SEEN = 10_000
"""Runs of which is known what was seen; those of long ago are forgotten."""


class Following:
    """One following of a run, or of the runs of a job. It asks nothing itself: that is done with or without `await`.

    `unfinished` are the runs that were not over when they were seen last; `last` is the id in the job's stream after
    which to read on, None before the first look.
    """

    def __init__(self, patience: float) -> None:
        self.unfinished: set[str] = set()
        self.last: bytes | None = None
        self._patience = patience
        self._ages: dict[str, tuple[int, datetime]] = {}
        self._missing_since: float | None = None

    def begin(self, newest: Any) -> None:
        """Read on after the newest entry of the stream, as XREVRANGE has returned it."""
        self.last = newest[0][0] if newest else b"0-0"

    def entries(self, found: Any) -> list[bytes]:
        """Take the records out of what XREAD has returned, and read on after them."""
        entries = found[0][1] if found else []
        if entries:
            self.last = entries[-1][0]
        return [fields[b"progress"] for _, fields in entries]

    def news(self, texts: Iterable[bytes | None]) -> list[ProgressRecord]:
        """Keep the records that are newer than what was seen of their runs."""
        self._missing_since = None
        return [record for text in texts if text is not None and self._is_news(record := decode(text))]

    def missing(self, problem: Exception) -> None:
        """Learn that there is nothing to see; raises the problem where that has been so for too long."""
        now = time.monotonic()
        self._missing_since = now if self._missing_since is None else self._missing_since
        if now - self._missing_since >= self._patience:
            raise problem

    def away(self, problem: Exception) -> None:
        """Let a server that is away have some time; one that refuses the password will not change its mind."""
        if isinstance(problem, AuthenticationError):
            raise problem
        self.missing(problem)

    def _is_news(self, record: ProgressRecord) -> bool:
        seen = self._ages.get(record.execution_id)
        if seen is not None and record.age <= seen:
            return False
        self._ages[record.execution_id] = record.age
        (self.unfinished.discard if record.is_over else self.unfinished.add)(record.execution_id)
        if len(self._ages) > MOST_SEEN:
            del self._ages[next(iter(self._ages))]
        return True
