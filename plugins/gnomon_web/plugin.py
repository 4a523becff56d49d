"""The plugin: a server that lives as long as the kernel, on the plugin's own thread and event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from gnomon import Event, KernelApi, hookimpl
from gnomon.logs import get_logger
from gnomon.threads import in_thread
from gnomon_web import config
from gnomon_web.app_keys import AUTHENTICATOR
from gnomon_web.auth.authenticator import Authenticator
from gnomon_web.auth.session_key import read_session_key
from gnomon_web.auth.sessions import Sessions
from gnomon_web.http.connections import Limits
from gnomon_web.projections import Projections
from gnomon_web.server import Listen, PortInUseError, build_app, ready_to_serve

log = get_logger("gnomon.web")

LIVE_KEYS = ("tokens", "oidc", "session")
"""The keys whose new values count after `gnomon reload`."""
HOUSEKEEPING_S = 5.0
PORT_RETRY_S = 0.25
"""Seconds until a process that follows tries again to listen on a port that another process uses."""


class WebPlugin:
    """Serves the kernel over HTTP, in each process on the log.

    While it serves, `address` is the host and port it listens on; before and after, it is None. A process that follows
    waits for a port that another one uses: on one machine that is the leader's, which is free when that one is gone.
    """

    role = "everywhere"

    Config = config.Config

    def __init__(self, config: config.Config | None = None) -> None:
        self.config = config or self.Config()
        self.address: tuple[str, int] | None = None
        self.problem: str | None = None
        self._projections: Projections | None = None
        self._authenticator: Authenticator | None = None

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
        limits = Limits.of(self.config)
        if limits.websockets < self.config.max_connections:
            log.warning(
                "fewer WebSockets than max_connections: the process may open too few files (ulimit -n, LimitNOFILE)",
                websockets=limits.websockets,
                max_connections=self.config.max_connections,
            )
        self._projections = await Projections.begin(kernel, limits.websockets)
        folder, configured = self.config.state_dir or kernel.directory, self.config.session_key
        key = await in_thread(lambda: read_session_key(folder, configured), "gnomon-web-key")
        app = build_app(self.config, kernel, self._projections, await Sessions.begin(kernel, key))
        self._authenticator = app[AUTHENTICATOR]
        async with ready_to_serve(app, limits) as listen, AsyncExitStack() as stack:
            is_waiting = not await self._listens(kernel, listen, stack)
            async with asyncio.TaskGroup() as tasks:
                work = [
                    self._authenticator.access_log.run(),
                    self._keep_house(kernel, self._authenticator),
                    self._projections.live.watch_logins(self._authenticator),
                ]
                if is_waiting:
                    work.append(self._wait_for_port(kernel, listen, stack))
                background = [tasks.create_task(part) for part in work]
                try:
                    yield
                finally:
                    await self._authenticator.access_log.finish()
                    for task in background:
                        task.cancel()
                    self.address = self.problem = None
                    await self._projections.live.close()

    @hookimpl(optionalhook=True)
    def register_dialect(self, register: Callable[[str], None]) -> None:
        """Register the dialect of the readers with plugins that publish in other ways, such as `redis`."""
        if self.config.dialect is not None:
            register(self.config.dialect)

    @hookimpl
    def on_events(self, events: Sequence[Event], replaying: bool) -> None:
        """Apply events to the projections, and send them to the viewers."""
        if self._projections is not None:
            self._projections.apply(events, replaying=replaying)

    @hookimpl
    async def reload(self, config: config.Config) -> tuple[str, ...]:
        """Apply the tokens of a changed config: logins of a token that is gone end at once."""
        if self._authenticator is None:
            return ()
        await self._authenticator.reload(config)
        if self._projections is not None:
            self._projections.live.check_logins()
        return LIVE_KEYS

    async def _listens(self, kernel: KernelApi, listen: Listen, stack: AsyncExitStack) -> bool:
        """Start to listen; False where another process uses the port, and this one follows and can wait for it."""
        try:
            port = await stack.enter_async_context(listen())
        except PortInUseError as exc:
            if kernel.health().role != "follower":
                raise
            log.info("web waits for its port: this kernel follows, and another process uses it", problem=str(exc))
            return False
        self.address = (self.config.host, port)
        names = ", ".join(token.name for token in self.config.tokens)
        is_open = "none: only users of this machine have access"
        log.info("web is listening", url=self.url, tokens=is_open if self.config.is_open else names)
        if self.config.sends_in_plain_text:
            log.warning(
                "tokens and logins can be read on the network: set tls_cert, or put a proxy with TLS in front and "
                "set public_url and trusted_proxies of [plugins.web]",
                host=self.config.host,
            )
        return True

    async def _wait_for_port(self, kernel: KernelApi, listen: Listen, stack: AsyncExitStack) -> None:
        """Listen as soon as the port is free. In a process that leads by now it is a problem that it is not."""
        while self.address is None:
            await asyncio.sleep(PORT_RETRY_S)  # in real time, because the port is real
            try:
                port = await stack.enter_async_context(listen())
            except PortInUseError as exc:
                self.problem = str(exc) if kernel.health().role == "leader" else None
            else:
                self.address, self.problem = (self.config.host, port), None
                log.info("web is listening", url=self.url)

    async def _keep_house(self, kernel: KernelApi, authenticator: Authenticator) -> None:
        while True:
            await kernel.sleep(HOUSEKEEPING_S)
            await authenticator.sessions.save_missed()
            authenticator.access_log.count_up()
            if self._projections is not None:
                self._projections.live.check_logins()
