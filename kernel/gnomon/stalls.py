"""The rule by which a watcher of silent runs notices that the kernel itself stood still.

The kernel may be stopped, suspended or blocked, and the runs too; their signs of life may be unread. A watcher
therefore looks several times in the period of silence that it allows. A look that comes too late shows a stall, and the
runs get the full period again.
"""

from __future__ import annotations

LOOKS = 20
"""Looks per period of silence."""
LATE_LOOK_S = 1.0
"""A look that is later than this, or than the time between two looks, shows that the kernel stalled."""


def longest_pause(period_s: float) -> float:
    """Return the longest time, in seconds, between two looks."""
    return period_s / LOOKS


def is_stall(late_s: float, period_s: float) -> bool:
    """Whether a look that came so many seconds late shows that the kernel stalled."""
    return late_s > max(longest_pause(period_s), LATE_LOOK_S)
