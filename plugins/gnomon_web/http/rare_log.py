"""Log lines about what clients do, of which an attack would make thousands."""

from __future__ import annotations

import time
from typing import Any

from gnomon.logs import get_logger

log = get_logger("gnomon.web")

INTERVAL_S = 60.0
"""Seconds between two lines of the same kind."""


class RareLog:
    """Writes a line of each kind at once, and then at most once a minute, with the number of those left out."""

    def __init__(self) -> None:
        self._written_at: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warning(self, message: str, **facts: Any) -> None:
        """Write a warning, unless one with this message was written within the last minute."""
        now = time.monotonic()
        if now - self._written_at.get(message, float("-inf")) < INTERVAL_S:
            self._left_out[message] = self._left_out.get(message, 0) + 1
            return
        self._written_at[message] = now
        log.warning(message, **facts, left_out=self._left_out.pop(message, 0))
