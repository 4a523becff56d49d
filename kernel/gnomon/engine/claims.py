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
        self._uses: OrderedDict[str, deque[float]] = OrderedDict()

    def claim(self, name: str, limit: int, period_s: float) -> float:
        """Count a use and return 0, or return the seconds until one is free."""
        now = self._clock.monotonic()
        uses = self._uses.setdefault(name, deque())
        while len(uses) > limit or (uses and uses[0] + period_s <= now):
            uses.popleft()
        if len(uses) == limit:
            return uses[0] + period_s - now
        uses.append(now)
        self._uses.move_to_end(name)
        while len(self._uses) > MOST_NAMES:
            self._uses.popitem(last=False)
        return 0.0

    def undo(self, name: str) -> None:
        """Forget the last use of a name."""
        if uses := self._uses.get(name):
            uses.pop()
        if not uses:
            self._uses.pop(name, None)
