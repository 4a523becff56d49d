"""A monotonic clock that a test moves."""

from __future__ import annotations


class Hand:
    """Returns `time`, which stands still until the test changes it."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time
