"""The plugin: a server that lives as long as the kernel, on the plugin's own thread and event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from gnomon import Event, KernelApi, hookimpl
from gnomon_web import config
from gnomon_web.projections import Projections
from gnomon_web.server import build_app, serving

log = structlog.stdlib.get_logger("gnomon.web")


class WebPlugin:
    """Serves the kernel over HTTP.

    While it serves, `address` is the host and port it listens on; before and after, it is None.
    """

    Config = config.Config

    def __init__(self, config: config.Config | None = None) -> None:
        self.config = config or self.Config()
        self.address: tuple[str, int] | None = None
        self._projections: Projections | None = None

    @property
    def url(self) -> str:
        """The URL of the server, base path included, without a slash at its end."""
        host, port = self.address or (self.config.host, self.config.port)
        name = f"[{host}]" if ":" in host else host
        return f"{self.config.scheme}://{name}:{port}{self.config.base_path}"

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, kernel: KernelApi) -> AsyncIterator[None]:
        """Serve for as long as the kernel lives."""
        self._projections = await Projections.begin(kernel, self.config.max_connections)
        async with serving(build_app(self.config, kernel, self._projections)) as port:
            self.address = (self.config.host, port)
            names = ", ".join(token.name for token in self.config.tokens)
            log.info(
                "web is listening", url=self.url, tokens=names or "none: full access for all users of this machine"
            )
            try:
                yield
            finally:
                self.address = None
                await self._projections.live.close()

    @hookimpl
    def on_events(self, events: Sequence[Event], replaying: bool) -> None:
        """Apply events to the projections, and send them to the viewers."""
        if self._projections is not None:
            self._projections.apply(events, replaying=replaying)
