"""How long to wait before one tries again."""

from __future__ import annotations

import random
from asyncio import sleep
from time import monotonic

FIRST, LONGEST = 0.25, 8.0
"""Seconds: the longest first pause, doubled with each attempt up to the longest of all."""


class Backoff:
    """Pauses with full jitter: those who were cut off together must not come back together.

    Measured from the first failure in a row, the patience is what one may wait in all.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._attempt = 0
        self._since: float | None = None

    def succeeded(self) -> None:
        """Begin anew at the next failure."""
        self._attempt, self._since = 0, None

    async def pause(self, failure: Exception) -> None:
        """Wait before the next attempt; raise the failure where the patience is over."""
        now = monotonic()
        self._since = self._since if self._since is not None else now
        left = self._since + self._patience - now
        if left <= 0:
            raise failure
        longest = min(FIRST * 2**self._attempt, LONGEST)
        self._attempt += 1
        await sleep(min(random.uniform(0, longest), left))  # noqa: S311 - spreads load, guards nothing
