"""How many frames are under way: TCP takes megabytes that a busy page has not looked at, so the page has to say so."""

from __future__ import annotations

import asyncio
from collections import deque

from gnomon_web.live.connection import PATIENCE, HangUp

WIDTH = 3
"""Frames that a client may not have acknowledged yet. Measured: a page that was busy for 8 s had 65 frames queued
without this, and 7 with it, after which one frame brought it up to date."""


class Window:
    """The frames that were sent and not acknowledged."""

    def __init__(self) -> None:
        self._under_way: deque[int] = deque()
        self._newest = -1
        self._moved = asyncio.Event()

    def sent(self, seq: int) -> None:
        """Count one more frame."""
        self._under_way.append(seq)
        self._newest = seq

    def acknowledge(self, seq: int) -> None:
        """Take away all frames up to that position; HangUp for one that was never sent."""
        if seq > self._newest:
            raise HangUp(4400, f"ack of {seq}, but the last frame had seq {self._newest}")
        while self._under_way and self._under_way[0] <= seq:
            self._under_way.popleft()
        self._moved.set()

    async def room(self) -> None:
        """Wait until one more frame may be sent; HangUp for a client that acknowledges nothing for a minute."""
        try:
            while len(self._under_way) >= WIDTH:
                self._moved.clear()
                async with asyncio.timeout(PATIENCE):
                    await self._moved.wait()
        except TimeoutError:
            raise HangUp(1013, f"no ack within {PATIENCE:g} s") from None
