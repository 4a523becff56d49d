"""The watch of a follower over the high-water mark, whose file changes after each commit of the kernel that leads.

A look takes 5 µs, on the event loop. A read of the log takes place in another thread, and wakes two threads up.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from gnomon.ticks import next_tick

LOOK_S = 0.1
"""Pause between two looks at the mark."""
LONGEST_S = 2.0
"""Time after which the log itself is read. A leader that was killed between a commit and the mark has left the mark
behind the log, and one without space on the disk does not write it."""
_MAX_BYTES = 200


class MarkWatch:
    """Notes what the file had at the last look. A read of the log after a look has every commit before it."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark
        self._seen: bytes | None = None

    async def wait(self) -> None:
        """Return when the file has changed since the last look, while it cannot be read, and after LONGEST_S."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST_S
        while True:
            await next_tick(LOOK_S)
            seen, self._seen = self._seen, self._content()
            if self._seen is None or self._seen != seen or loop.time() >= until:
                return

    def _content(self) -> bytes | None:
        try:
            file = os.open(self._mark, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            return os.read(file, _MAX_BYTES)
        except OSError:
            return None
        finally:
            os.close(file)
