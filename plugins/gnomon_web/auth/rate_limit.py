"""A limit on the failed logins of an address."""

from __future__ import annotations

import math
from collections import OrderedDict, deque

from aiohttp import hdrs

from gnomon import Clock
from gnomon.wire.problems import TOO_MANY_FAILED_LOGINS
from gnomon_web.errors import ApiError

MAX_ADDRESSES = 10_000


class RateLimit:
    """At most `limit` failures in `period_s` seconds for an address; least recently seen addresses are forgotten."""

    def __init__(self, limit: int, period_s: float, clock: Clock) -> None:
        self._limit = limit
        self._period_s = period_s
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, address: str) -> None:
        """Count a failure."""
        times = self._failures.setdefault(address, deque(maxlen=self._limit))
        times.append(self._clock.monotonic())
        self._failures.move_to_end(address)
        while len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)

    def check(self, address: str) -> None:
        """Raise ApiError 429 while the address is over the limit."""
        times = self._failures.get(address)
        if times is None or len(times) < self._limit:
            return
        wait = times[0] + self._period_s - self._clock.monotonic()
        if wait > 0:
            seconds = math.ceil(wait)
            raise ApiError(
                TOO_MANY_FAILED_LOGINS,
                f"too many wrong tokens from {address}: wait {seconds} s",
                headers={hdrs.RETRY_AFTER: str(seconds)},
            )
