"""Where events go to the browsers and programs that watch."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from gnomon import Event, Kernel


class Hub:
    """All live connections of a server. Everything here is called on the loop of the plugin."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def publish(self, events: Sequence[Event]) -> None:
        """Take events in order of position; never blocks, never raises, keeps a bounded number of them."""

    async def close(self) -> None:
        """Say good-bye to all connections (1012: the server restarts); called before the server stops."""


HUB = web.AppKey("hub", Hub)
"""Under this key handlers find the hub: `request.app[HUB]`."""
