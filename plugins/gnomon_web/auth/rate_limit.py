"""Limits on logins: wrong tokens by address, and all logins by the name of their token."""

from __future__ import annotations

import math
from collections import OrderedDict, deque

from aiohttp import hdrs

from gnomon import Clock
from gnomon.wire.problems import TOO_MANY_FAILED_LOGINS
from gnomon_web.errors import ApiError

MAX_KEYS = 10_000


class RateLimit:
    """At most `limit` events in `period_s` seconds for a key; the least recently seen keys are forgotten."""

    def __init__(self, limit: int, period_s: float, clock: Clock) -> None:
        self._limit = limit
        self._period_s = period_s
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, key: str) -> None:
        """Count an event."""
        times = self._times.setdefault(key, deque(maxlen=self._limit))
        times.append(self._clock.monotonic())
        self._times.move_to_end(key)
        while len(self._times) > MAX_KEYS:
            self._times.popitem(last=False)

    def check(self, key: str, problem: str) -> None:
        """Raise ApiError 429, which begins with `problem`, while the key is over the limit."""
        times = self._times.get(key)
        if times is None or len(times) < self._limit:
            return
        wait = times[0] + self._period_s - self._clock.monotonic()
        if wait > 0:
            seconds = math.ceil(wait)
            raise ApiError(
                TOO_MANY_FAILED_LOGINS,
                f"{problem}: wait {seconds} s",
                headers={hdrs.RETRY_AFTER: str(seconds)},
            )
