"""What the kernel measures of itself: whether its components make progress, and how long things have taken lately.

Written on the kernel's loop and read from any thread: health is asked for when the loop does not answer, too.
"""

from __future__ import annotations

import time

WINDOW_S = 10.0
"""Recent values are those of the last 10 to 20 seconds."""


class Heartbeat:
    """Shows that a component makes progress: it is stalled while one step takes longer than `limit_s`."""

    def __init__(self, component: str, limit_s: float) -> None:
        self.component = component
        self._limit_s = limit_s
        self._step: tuple[str, float] | None = None

    def begin(self, step: str) -> None:
        """Begin a step, such as `writes a batch`; the one before has ended."""
        self._step = (step, time.monotonic())

    def rest(self) -> None:
        """End the step: the component waits for work, without a time limit."""
        self._step = None

    @property
    def problem(self) -> str | None:
        """A sentence while the component is stalled."""
        step = self._step
        if step is None or (spent := time.monotonic() - step[1]) < self._limit_s:
            return None
        return f"the {self.component} has not made progress for {spent:.0f} s: it {step[0]}"


class RecentValues:
    """The mean and the maximum of the values that were added in the last 10 to 20 seconds."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._before = self._now = (0.0, 0, 0.0)  # sum, count, maximum

    def add(self, value: float) -> None:
        """Add a value that has just been measured."""
        self._rotate()
        total, count, largest = self._now
        self._now = (total + value, count + 1, max(largest, value))

    @property
    def mean(self) -> float:
        """The mean, 0 where nothing was measured."""
        self._rotate()
        (total, count, _), (earlier, earlier_count, _) = self._now, self._before
        return (total + earlier) / max(count + earlier_count, 1)

    @property
    def maximum(self) -> float:
        """The maximum, 0 where nothing was measured."""
        self._rotate()
        return max(self._now[2], self._before[2])

    def _rotate(self) -> None:
        passed = time.monotonic() - self._since
        if passed > WINDOW_S:
            self._before = self._now if passed < 2 * WINDOW_S else (0.0, 0, 0.0)
            self._now, self._since = (0.0, 0, 0.0), time.monotonic()
