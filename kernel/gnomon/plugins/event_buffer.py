"""The events that wait for one plugin in memory; what does not fit is read from the store."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from gnomon.domain.events import Event

CAPACITY = 10_000
"""Events in the buffer of one plugin. One that lags further behind reads from the store."""


class EventBuffer:
    """A bounded queue of commits between the kernel's thread and a plugin's. `head` is the newest position offered."""

    def __init__(self, head: int) -> None:
        self.head = head
        self.size = 0
        self._lock = threading.Lock()
        self._commits: deque[Sequence[Event]] = deque()

    def offer(self, events: Sequence[Event]) -> None:
        """Add a commit; never blocks. If it does not fit, everything is dropped and the gap is read from the store."""
        with self._lock:
            self.head = events[-1].position
            if self.size + len(events) > CAPACITY:
                self._commits.clear()
                self.size = 0
            else:
                self._commits.append(events)
                self.size += len(events)

    def take(self, cursor: int) -> Sequence[Event]:
        """Return the next commit if it continues at the cursor, else nothing."""
        with self._lock:
            while self._commits and self._commits[0][-1].position <= cursor:
                self.size -= len(self._commits.popleft())
            if not self._commits or self._commits[0][0].position > cursor + 1:
                return ()
            commit = self._commits.popleft()
            self.size -= len(commit)
            return commit
