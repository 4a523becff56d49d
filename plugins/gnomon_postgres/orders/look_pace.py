"""How often the receiver looks for orders: when a notice arrives, and without notices while many orders come.

A transaction that sends a notice waits at its commit for each other one that does, until that is on the disk. So where
many orders come, the receiver promises in the table `order_looks` to look by itself for some time, in which orders send
no notices. It does so to the end of that time, because transactions act by what they have read, and begins with such
looks, because a kernel that was killed leaves its promise to the next one.
"""

from __future__ import annotations

import time
from datetime import timedelta

from gnomon.backoff import Backoff
from gnomon_postgres.orders.pending_orders import PendingOrders

PROMISED = timedelta(seconds=0.5)
RENEWED_S = 0.25
"""Seconds before the end of a promise at which it is renewed."""
AFTER_S = 1.0
"""Seconds after it in which a transaction may still commit that has read it."""
MANY_PER_S = 150.0
"""Orders per second from which on the receiver looks by itself, and the time over which they are counted."""
WINDOW_S = 0.25
FIRST_LOOK_S, LONGEST_LOOK_S = 0.005, 0.01
"""The pauses between two looks during a promise, from the last order on."""
LAST_LOOKS_S = 0.05
"""The same after it."""


class LookPace:
    """Counts the orders that are found, and says when the receiver looks again."""

    def __init__(self, orders: PendingOrders) -> None:
        self._orders = orders
        self._since = time.monotonic()
        self._until = self._since + PROMISED.total_seconds()
        self._found = 0
        self._backoff = Backoff(FIRST_LOOK_S, LONGEST_LOOK_S)

    async def note(self, found: int) -> None:
        """Note how many orders a look has found, and promise to look often if they are many; StoreError."""
        if found:
            self._backoff.reset()
        self._found += found
        now = time.monotonic()
        if (seconds := now - self._since) < WINDOW_S:
            return
        are_many = self._found >= MANY_PER_S * seconds
        self._found, self._since = 0, now
        if are_many and self._until < now + RENEWED_S:
            await self._orders.promise_looks(PROMISED)
            self._until = time.monotonic() + PROMISED.total_seconds()

    def look_s(self) -> float | None:
        """Return the seconds until the next look while no notice arrives; None without a limit."""
        if (left := self._until - time.monotonic()) > 0:
            return self._backoff.next()
        return LAST_LOOKS_S if left > -AFTER_S else None
