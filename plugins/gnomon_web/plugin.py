"""What the config file enables: a server that lives as long as the kernel, on the plugin's own thread and loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from gnomon import Event, Kernel, hookimpl
from gnomon_web import config
from gnomon_web.live.hub import Hub
from gnomon_web.server import build_app, serving

log = structlog.stdlib.get_logger("gnomon.web")


class WebPlugin:
    """Serves the kernel over HTTP.

    While it serves, `address` is what it listens on, with the port that it was given; before and after it is None.
    """

    Config = config.Config

    def __init__(self, config: config.Config | None = None) -> None:
        self.config = config or self.Config()
        self.address: tuple[str, int] | None = None
        self._hub: Hub | None = None

    @property
    def url(self) -> str:
        """Where it can be reached, base path included; ends without a slash."""
        host, port = self.address or (self.config.host, self.config.port)
        name = f"[{host}]" if ":" in host else host
        return f"{self.config.scheme}://{name}:{port}{self.config.base_path}"

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, kernel: Kernel) -> AsyncIterator[None]:
        """Serve for as long as the kernel lives."""
        self._hub = Hub(kernel)
        async with serving(build_app(self.config, kernel, self._hub)) as port:
            self.address = (self.config.host, port)
            log.info("web is listening", url=self.url, tokens=[token.name for token in self.config.tokens])
            try:
                yield
            finally:
                self.address = None
                await self._hub.close()

    @hookimpl
    def on_events(self, events: Sequence[Event]) -> None:
        """Hand events to those who watch."""
        if self._hub is not None:
            self._hub.publish(events)
