"""Calls the handlers of other plugins: whatever they raise, return or do, their caller gets an answer in time.

A SystemExit or KeyboardInterrupt that reaches the event loop would end the server, so nothing that a handler raises
leaves the task that it runs in. That holds for the writing of its answer too, which may run its code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web

from gnomon import GnomonError
from gnomon.logs import get_logger
from gnomon.safe_text import safe_str, safe_traceback
from gnomon.wire.problems import PLUGIN_FAILED
from gnomon_web.errors import ApiError
from gnomon_web.http.routes import Handler, Route

T = TypeVar("T")
log = get_logger("gnomon.web")

CANCEL_LIMIT_S = 1.0
"""Seconds that a cancelled handler may take to end; then it is abandoned."""
_abandoned: set[asyncio.Task[BaseException | None]] = set()


class ClientGoneError(ConnectionResetError):
    """The client has left before its answer was written, which does not fail the call."""


async def call_contributed(route: Route, call: Callable[[], Awaitable[T]], limit_s: float | None) -> T:
    """Await `call()`, the handler of a contributed route and what belongs to it.

    ApiError, GnomonError and aiohttp's own errors pass: they are answers. ClientGoneError passes as well. Anything
    else, and an answer that takes longer than `limit_s`, is an ApiError that names the plugin.
    """
    results: list[T] = []

    async def run() -> BaseException | None:
        try:
            results.append(await call())
        except BaseException as exc:  # noqa: BLE001 - it must not reach the loop
            return exc
        return None

    task = asyncio.create_task(run(), name=f"{route.method} {route.path} of {route.plugin}")
    try:
        done, _ = await asyncio.wait({task}, timeout=limit_s)
        error = task.result() if done else TimeoutError(f"no answer within {limit_s:g} s")
    finally:
        await _end(task, route)
    if error is None:
        return results[0]
    if isinstance(error, ApiError | GnomonError | web.HTTPException | ClientGoneError):
        raise error
    log.error(
        "plugin route failed",
        plugin=route.plugin,
        method=route.method,
        path=route.path,
        problem=safe_str(error),
        traceback=safe_traceback(error),
    )
    detail = f"the plugin {route.plugin!r} failed to answer {route.method} {route.path}; see the server's log"
    raise ApiError(PLUGIN_FAILED, detail)


def callable_by_others(route: Route, limit_s: float) -> Handler:
    """Return the handler of a route for another handler that uses its answer."""
    if route.plugin is None:
        return route.handler

    async def call(request: web.Request) -> Any:
        return await call_contributed(route, lambda: route.handler(request), limit_s)

    return call


async def _end(task: asyncio.Task[BaseException | None], route: Route) -> None:
    """Cancel a handler that still runs; one that does not end is left to itself, and named in the log."""
    if task.done():
        return
    task.cancel()
    await asyncio.wait({task}, timeout=CANCEL_LIMIT_S)
    if not task.done():
        log.error("plugin route ignores its cancellation", plugin=route.plugin, method=route.method, path=route.path)
        _abandoned.add(task)
        task.add_done_callback(_abandoned.discard)
