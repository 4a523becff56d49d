"""Limits on logins: wrong tokens by address, and all logins by the name of their token.

They count in all processes on a log together, at the kernel that leads; where none does, in each process by itself.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque

from aiohttp import hdrs

from gnomon import Clock
from gnomon.wire.problems import TOO_MANY_FAILED_LOGINS
from gnomon_web.auth.shared_claims import SharedClaims
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
            raise _too_many(problem, wait)


class SharedLimit:
    """At most `limit` events in `period_s` seconds for a key, in all processes; `purpose` tells limits apart.

    Call `check`, then `look` or `count` without another await in between, so that no burst gets past the own limit.
    """

    def __init__(self, claims: SharedClaims, purpose: str, limit: int, period_s: float) -> None:
        self._claims = claims
        self._purpose = purpose
        self._limit = limit
        self._period_s = period_s
        self._own = RateLimit(limit, period_s, claims.clock)

    def check(self, key: str, problem: str) -> None:
        """Raise ApiError 429, which begins with `problem`, where this process alone has seen too many events."""
        self._own.check(key, problem)

    async def look(self, key: str, problem: str) -> None:
        """Raise ApiError 429 where all processes together have seen too many events."""
        await self._claim(key, problem, uses=0)

    async def count(self, key: str, problem: str) -> None:
        """Count an event; ApiError 429 where it is one too many."""
        self._own.count(key)
        await self._claim(key, problem, uses=1)

    async def _claim(self, key: str, problem: str, uses: int) -> None:
        wait = await self._claims.claim(f"{self._purpose}:{key}", self._limit, self._period_s, uses)
        if wait > 0:
            raise _too_many(problem, wait)


def _too_many(problem: str, wait_s: float) -> ApiError:
    seconds = math.ceil(wait_s)
    return ApiError(TOO_MANY_FAILED_LOGINS, f"{problem}: wait {seconds} s", headers={hdrs.RETRY_AFTER: str(seconds)})
