"""The server as a part of another aiohttp application, below a prefix: `main.add_subapp("/gnomon", app(kernel))`.

The other application owns the port, TLS and the event loop. Its handlers run there; events come from the thread of a
plugin that is added to the kernel while the application runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from gnomon import Event, GnomonError, hookimpl
from gnomon.logs import get_logger
from gnomon.safe_text import safe_traceback
from gnomon.tasks import TaskSet
from gnomon.threads import in_thread
from gnomon.wire.problems import FORWARDED_REQUEST
from gnomon_web import dialect
from gnomon_web.app_keys import AUTHENTICATOR
from gnomon_web.auth.networks import is_loopback
from gnomon_web.auth.session_key import read_session_key
from gnomon_web.auth.sessions import Sessions
from gnomon_web.config import Config
from gnomon_web.errors import ApiError
from gnomon_web.projections import Projections
from gnomon_web.server import build_routes, equip, new_app

if TYPE_CHECKING:
    from gnomon import BackgroundKernel, Kernel

log = get_logger("gnomon.web")

PROBE = "/livez"
"""A route of every server, by which the prefix is found."""
HOUSEKEEPING_S = 5.0


def app(kernel: Kernel | BackgroundKernel, config: Config | None = None, *, name: str = "web") -> web.Application:
    """Return an application with the REST API, the WebSockets and the dashboard of a kernel, to be mounted in another.

        main.add_subapp("/gnomon", gnomon_web.app(kernel, Config(tokens=[...])))

    The kernel must run when the other application starts, and until it has cleaned up: start it in the first
    `cleanup_ctx` of the other application, or before. Of `config`, what concerns the port, TLS and connections has no
    effect; `base_path` is the prefix. Names of the server that are not addresses or `localhost` are listed in
    `allowed_hosts`. Without tokens, only this machine is served. `name` is that of the plugin in the kernel.
    """
    mounted = _Mounted(kernel, config or Config(), name)
    return mounted.app


class _Mounted:
    def __init__(self, kernel: Kernel | BackgroundKernel, config: Config, name: str) -> None:
        # A BackgroundKernel has the Kernel, whose coroutines may be awaited from any loop.
        self._kernel: Kernel = getattr(kernel, "kernel", None) or kernel  # type: ignore[assignment]
        self._config = config
        self._name = name
        self._table = build_routes(self._kernel, dialect.choose(config))
        self.app = new_app(config, self._table, more=[only_this_machine])
        self.app.cleanup_ctx.append(self._serve)
        self.app.on_shutdown.append(self._close)
        self._projections: Projections | None = None

    async def _serve(self, app: web.Application) -> AsyncIterator[None]:
        kernel, config = self._kernel, self._mounted_config(app)
        if kernel.loop is None:
            raise GnomonError(
                "the kernel is not running, so it cannot be served: start it before the application, for example in "
                "its first cleanup_ctx"
            )
        projections = self._projections = await Projections.begin(kernel, config.max_connections)
        folder = config.state_dir or kernel.directory
        key = await in_thread(lambda: read_session_key(folder, config.session_key), "gnomon-web-key")
        equip(app, config, kernel, self._table, projections, await Sessions.begin(kernel, key))
        feed = EventFeed(projections, asyncio.get_running_loop())
        await kernel.add_plugin(feed, self._name)
        log.info("web is mounted", prefix=config.base_path or "/")
        authenticator = app[AUTHENTICATOR]
        tasks = TaskSet(_report)  # not a task group: aiohttp may clean up in another task than it starts in
        tasks.create_task(authenticator.access_log.run(), "gnomon access log")
        tasks.create_task(self._keep_house(app), "gnomon web housekeeping")
        tasks.create_task(projections.live.watch_logins(authenticator), "gnomon web logins")
        try:
            yield
        finally:
            await authenticator.access_log.finish()
            await tasks.stop()
            feed.close()
            if kernel.loop is not None:  # else the kernel has stopped before, and its plugins with it
                await kernel.remove_plugin(self._name)

    async def _close(self, _: web.Application) -> None:
        """Close the WebSockets, for which the other application would wait otherwise."""
        if self._projections is not None:
            await self._projections.live.close()

    def _mounted_config(self, app: web.Application) -> Config:
        """Return the config with the prefix that the application was mounted at."""
        paths = (resource.canonical for resource in app.router.resources())
        prefix = next(path for path in paths if path.endswith(PROBE)).removesuffix(PROBE)
        return msgspec.structs.replace(self._config, base_path=prefix)

    async def _keep_house(self, app: web.Application) -> None:
        while True:
            await self._kernel.sleep(HOUSEKEEPING_S)
            await app[AUTHENTICATOR].sessions.save_missed()
            app[AUTHENTICATOR].access_log.count_up()
            if self._projections is not None:
                self._projections.live.check_logins()


def _report(task: asyncio.Task[None]) -> None:
    problem = task.exception()
    if problem is not None:
        log.error("a task of the mounted server failed", task=task.get_name(), problem=safe_traceback(problem))


class EventFeed:
    """The plugin that passes events to the application, on the loop of the application."""

    role = "everywhere"

    def __init__(self, projections: Projections, loop: asyncio.AbstractEventLoop) -> None:
        self._projections = projections
        self._loop = loop
        self._is_open = True

    def close(self) -> None:
        """Pass nothing more; called on the loop of the application."""
        self._is_open = False

    @hookimpl
    async def on_events(self, events: Sequence[Event], replaying: bool) -> None:
        """Apply events, and wait until that is done: a loop that is late holds the plugin back, and queues nothing."""
        if self._is_open:
            work = self._apply(events, replaying=replaying)
            try:
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
            except RuntimeError:  # the loop of the application is closed
                work.close()

    async def _apply(self, events: Sequence[Event], *, replaying: bool) -> None:
        if self._is_open:
            self._projections.apply(events, replaying=replaying)


@web.middleware
async def only_this_machine(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests from other machines where there are no tokens; the other application chooses the address."""
    if request.app[AUTHENTICATOR].is_open and request.remote and not is_loopback(request.remote):
        raise ApiError(
            FORWARDED_REQUEST,
            "gnomon has no tokens here and serves this machine only: pass Config(tokens=[...]) to gnomon_web.app()",
        )
    return await handler(request)
