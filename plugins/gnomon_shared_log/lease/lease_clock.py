"""The clock that leases are counted on: it goes on while the machine sleeps, and nobody can set it."""

from __future__ import annotations

import sys
import time

_ON_MACOS = getattr(time, "CLOCK_MONOTONIC", None) if sys.platform == "darwin" else None
_COUNTS_SLEEP: int | None = getattr(time, "CLOCK_BOOTTIME", _ON_MACOS)
"""On macOS this clock counts sleep, and time.monotonic does not. Windows has one clock, which does."""


def lease_clock() -> float:
    """Return seconds of a clock that counts suspended time; only differences have a meaning.

    `time.monotonic` stands still while a Linux machine sleeps. A kernel that counted its lease on it would still trust
    the lease after a night with the lid closed.
    """
    return time.clock_gettime(_COUNTS_SLEEP) if _COUNTS_SLEEP is not None else time.monotonic()
