"""Pauses between attempts: each twice as long as the one before, up to a limit."""

from __future__ import annotations

import random


class Backoff:
    """Yields the pauses, in seconds, between failed attempts: `first`, then doubled up to `longest`.

    `jitter` is the share of each pause that is random, from 0 (none) to 1 (full jitter). It keeps clients that lost the
    same server from returning at the same instant.
    """

    def __init__(self, first: float, longest: float, *, jitter: float = 0.0) -> None:
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self._next = first

    def next(self) -> float:
        """Return the next pause."""
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause * (1 - self._jitter * random.random())  # noqa: S311 - it only spreads load

    def reset(self) -> None:
        """Start again from the first pause: an attempt has succeeded."""
        self._next = self._first
