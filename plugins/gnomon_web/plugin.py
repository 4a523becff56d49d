"""What the config file enables: a server that lives as long as the kernel, on the plugin's own thread and loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from gnomon import Event, Kernel, hookimpl
from gnomon_web import config
from gnomon_web.server import build_app, serving
from gnomon_web.views import Views

log = structlog.stdlib.get_logger("gnomon.web")


class WebPlugin:
    """Serves the kernel over HTTP.

    While it serves, `address` is what it listens on, with the port that it was given; before and after it is None.
    """

    Config = config.Config

    def __init__(self, config: config.Config | None = None) -> None:
        self.config = config or self.Config()
        self.address: tuple[str, int] | None = None
        self._views: Views | None = None

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
        self._views = await Views.begin(kernel, self.config.max_connections)
        async with serving(build_app(self.config, kernel, self._views)) as port:
            self.address = (self.config.host, port)
            names = ", ".join(token.name for token in self.config.tokens)
            log.info("web is listening", url=self.url, tokens=names or "none: whoever is on this machine may do all")
            try:
                yield
            finally:
                self.address = None
                await self._views.hub.close()

    @hookimpl
    def on_events(self, events: Sequence[Event], replaying: bool) -> None:
        """Hand events to what is folded from them, and to those who watch."""
        if self._views is not None:
            self._views.take(events, replaying=replaying)
