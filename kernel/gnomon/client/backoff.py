"""How long the client waits before its next attempt, and when it gives up."""

from __future__ import annotations

from asyncio import sleep
from time import monotonic

from gnomon.backoff import Backoff

FIRST, LONGEST = 0.25, 8.0
"""Seconds: the first pause and the longest one."""


class PatientBackoff:
    """Pauses with full jitter until the patience is used up.

    The patience, in seconds, is counted from the first of several failures in a row.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._backoff = Backoff(FIRST, LONGEST, jitter=1.0)
        self._since: float | None = None

    def succeeded(self) -> None:
        """Start again from the first pause and with the full patience."""
        self._backoff.reset()
        self._since = None

    async def pause(self, failure: Exception) -> None:
        """Wait before the next attempt; raise `failure` when the patience is used up."""
        now = monotonic()
        self._since = self._since if self._since is not None else now
        left = self._since + self._patience - now
        if left <= 0:
            raise failure
        await sleep(min(self._backoff.next(), left))
