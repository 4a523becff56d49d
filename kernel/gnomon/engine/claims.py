"""The uses of names that are limited over all processes of a log, such as the tries of an address to log in."""

from __future__ import annotations

from collections import OrderedDict, deque

from gnomon.ports import Clock

MOST_NAMES = 50_000
"""Names that are kept; a further one replaces the one that was used longest ago."""


class Claims:
    """The uses of one term: at most `limit` of a name in any period of its length."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def claim(self, name: str, limit: int, period_s: float, uses: int = 1) -> float:
        """Count a use and return 0, or return the seconds until one is free; without `uses` only look."""
        now = self._clock.monotonic()
        times = self._times.get(name, deque())
        while times and times[0] + period_s <= now:
            times.popleft()
        if len(times) >= limit:
            return times[-limit] + period_s - now
        if uses:
            times.append(now)
            self._times[name] = times
            self._times.move_to_end(name)
            while len(self._times) > MOST_NAMES:
                self._times.popitem(last=False)
        return 0.0
