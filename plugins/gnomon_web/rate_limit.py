"""Counts what goes wrong for an address, and makes it wait."""

from __future__ import annotations

import math
from collections import OrderedDict, deque

from gnomon import Clock
from gnomon_web.problems import ApiError

MOST_ADDRESSES = 10_000


class RateLimit:
    """At most `limit` failures in `period` seconds for an address; those not heard of for longest are forgotten."""

    def __init__(self, limit: int, period: float, clock: Clock) -> None:
        self._limit = limit
        self._period = period
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, address: str) -> None:
        """Count a failure."""
        times = self._failures.setdefault(address, deque(maxlen=self._limit))
        times.append(self._clock.monotonic())
        self._failures.move_to_end(address)
        while len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)

    def check(self, address: str) -> None:
        """Raise ApiError 429 while there have been too many."""
        times = self._failures.get(address)
        if times is None or len(times) < self._limit:
            return
        wait = times[0] + self._period - self._clock.monotonic()
        if wait > 0:
            seconds = math.ceil(wait)
            raise ApiError(
                429, f"too many wrong tokens from {address}: wait {seconds} s", headers={"Retry-After": str(seconds)}
            )
