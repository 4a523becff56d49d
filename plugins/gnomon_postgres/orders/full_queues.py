"""Jobs whose queues had no room for an order: when each is tried again, and which cancellations wait for that."""

from __future__ import annotations

import time
from collections.abc import Collection

from gnomon.backoff import Backoff

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
"""Time between two tries."""
MOST_HELD = 100
"""Cancellations that wait."""


class FullQueues:
    """The jobs that are full, as far as it is known."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        """The cancellations that wait until a job is tried again."""
        self._retries: dict[str, tuple[float, Backoff]] = {}

    @property
    def jobs(self) -> Collection[str]:
        """The jobs that are full."""
        return self._retries.keys()

    @property
    def retry_s(self) -> float | None:
        """Seconds until a job is to be tried again; None if no job is full."""
        if not self._retries:
            return None
        return max(min(at for at, _ in self._retries.values()) - time.monotonic(), 0.0)

    def due(self) -> list[str]:
        """Return the jobs that are to be tried again now; the cancellations are, too, if there are any."""
        now = time.monotonic()
        found = [job_id for job_id, (retry_at, _) in self._retries.items() if retry_at <= now]
        if found:
            self.held.clear()
        return found

    def hold(self, order_id: str) -> bool:
        """Keep a cancellation back whose run is unknown: an order that waits for room may make that run.

        False if no order waits, or too many cancellations do.
        """
        if not self._retries or len(self.held) >= MOST_HELD:
            return False
        self.held.add(order_id)
        return True

    def note(self, full: Collection[str], others: Collection[str]) -> None:
        """Note for which jobs an order found no room, and which have none that waits."""
        for job_id in others:
            self._retries.pop(job_id, None)
        if not self._retries:
            self.held.clear()
        for job_id in full:
            _, backoff = self._retries.get(job_id, (0.0, Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)))
            self._retries[job_id] = time.monotonic() + backoff.next(), backoff
