"""Waits before another attempt, until the time limit for retries expires."""

from __future__ import annotations

from asyncio import sleep
from datetime import timedelta
from time import monotonic

from gnomon.backoff import Backoff
from gnomon.client.errors import ClientError
from gnomon.safe_text import safe_repr

FIRST_S, LONGEST_S = 0.25, 8.0
"""The first pause and the longest one."""


def seconds_of(patience: object) -> float:
    """Return a patience in seconds; ClientError for what is neither a timedelta nor a number of seconds."""
    if isinstance(patience, timedelta):
        return patience.total_seconds()
    if isinstance(patience, int | float) and not isinstance(patience, bool):
        return float(patience)
    raise ClientError(f"patience is {safe_repr(patience)}: expected a timedelta, or seconds such as 60")


class Patience:
    """Pauses with full jitter, for at most `total_s` seconds from the first of several failures in a row."""

    def __init__(self, total_s: float) -> None:
        self._total_s = total_s
        self._backoff = Backoff(FIRST_S, LONGEST_S, jitter=1.0)
        self._since: float | None = None

    def succeeded(self) -> None:
        """Start again from the first pause and with the full patience."""
        self._backoff.reset()
        self._since = None

    async def pause(self, failure: Exception) -> None:
        """Wait before the next attempt; raise `failure` when the time limit for retries has expired."""
        now = monotonic()
        self._since = self._since if self._since is not None else now
        left = self._since + self._total_s - now
        if left <= 0:
            raise failure
        await sleep(min(self._backoff.next(), left))
