"""Notices that the process of the kernel did not run: stopped by SIGSTOP, suspended with its machine, or starved.

A thread looks several times a second. A look that comes much too late, in a process that has used no CPU time, shows a
pause. On a machine whose monotonic clock stands still while it is suspended, the timetable notices instead that the
wall clock has moved.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from gnomon.logs import get_logger
from gnomon.text import length

log = get_logger("gnomon.engine.pauses")

PAUSE_S = 5.0
"""A shorter time without a look is not a pause: a busy machine does not run every thread at once."""
BUSY_SHARE = 0.5
"""A process that has used more CPU time than this share of the time was not paused; one of its threads held it up."""
REMEMBERED_S = 60.0
"""How long health names a pause that is over."""


class Pause(msgspec.Struct, frozen=True):
    """A time in which the process did not run, in seconds; `until` is wall time, `ended` monotonic."""

    seconds: float
    until: float
    ended: float

    def __str__(self) -> str:
        at = datetime.fromtimestamp(self.until, UTC)
        return (
            f"the process of the kernel did not run for {length(timedelta(seconds=round(self.seconds)))} until "
            f"{at:%Y-%m-%d %H:%M:%S} UTC: it was stopped (SIGSTOP), suspended, or got no CPU time"
        )


class PauseDetector:
    """Remembers the last pause, and calls `on_pause` with each. In any thread."""

    def __init__(self, on_pause: Callable[[Pause], None] = lambda _: None) -> None:
        self._on_pause = on_pause
        self._lock = threading.Lock()
        self._last: Pause | None = None
        self._looked_at, self._cpu_s = time.monotonic(), time.process_time()

    def restart(self) -> None:
        """Begin to look: the time before is not a pause."""
        with self._lock:
            self._looked_at, self._cpu_s = time.monotonic(), time.process_time()

    def look(self) -> None:
        """Note that the process runs, and whether it has not done so since the last look."""
        with self._lock:
            now, cpu_s = time.monotonic(), time.process_time()
            passed, used = now - self._looked_at, cpu_s - self._cpu_s
            self._looked_at, self._cpu_s = now, cpu_s
            if passed < PAUSE_S or used > passed * BUSY_SHARE:
                return
            self._last = pause = Pause(passed, time.time(), now)
        log.warning("the process of the kernel was paused", seconds=round(pause.seconds, 1))
        self._on_pause(pause)

    @property
    def problem(self) -> str | None:
        """A sentence for a minute after a pause."""
        pause = self._last
        return str(pause) if pause is not None and time.monotonic() - pause.ended < REMEMBERED_S else None

    def since(self, moment: float) -> Pause | None:
        """Return the last pause if it ended after `moment`, a wall time."""
        self.look()  # the caller may have woken up earlier than the thread that looks
        pause = self._last
        return pause if pause is not None and pause.until >= moment else None
