"""Liveness and readiness, for machines: the status code is the answer, and no answer reveals a secret."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import msgspec
from aiohttp import web

from gnomon import GnomonError
from gnomon.api import Health
from gnomon_web.app_keys import AUTHENTICATOR, IDENTITY, KERNEL
from gnomon_web.http.routes import Answer, Route

ANSWER_LIMIT_S = 5.0
"""Seconds within which the kernel's loop must answer; otherwise it counts as blocked."""
MAX_LAG = 10_000
"""Events that a plugin may lag; beyond that it reads them from the store instead of memory."""

ComponentState = Literal["ok", "degraded", "failed"]


class Component(msgspec.Struct, kw_only=True):
    """A part of the kernel. `problem` is for viewers; it is null for other clients."""

    name: str
    state: ComponentState
    problem: str | None = None
    lag: int | None = None


class HealthReport(msgspec.Struct, kw_only=True):
    """The kernel's health: `ok`, `degraded` when it works but needs attention, or `failed`."""

    status: ComponentState
    components: list[Component]


def routes() -> list[Route]:
    """Return the routes of this module."""
    base: dict[str, Any] = {"method": "GET", "role": "public", "tag": "health", "also": (503,)}
    return [
        Route(path="/livez", handler=livez, **base),
        Route(path="/readyz", handler=readyz, **base),
        Route(path="/scheduler/health", handler=readyz, **base),
    ]


async def livez(request: web.Request) -> Answer[HealthReport]:
    """Return 200 while the process works: its loop answers and it owns the log. On 503, restart it."""
    return _answer(request, [await _kernel(request)])


async def readyz(request: web.Request) -> Answer[HealthReport]:
    """Return 200 while the kernel is ready: the store answers and new runs start."""
    health = request.app[KERNEL].health()
    parts = [await _kernel(request), await _store(request, health), *map(_plugin, health.plugins)]
    return _answer(request, parts)


def _answer(request: web.Request, components: list[Component]) -> Answer[HealthReport]:
    states = {component.state for component in components}
    status: ComponentState = "failed" if "failed" in states else "degraded" if "degraded" in states else "ok"
    if not (request.app[AUTHENTICATOR].is_open or request[IDENTITY].may("viewer")):
        components = [msgspec.structs.replace(component, problem=None) for component in components]
    return Answer(HealthReport(status=status, components=components), status=503 if status == "failed" else 200)


async def _kernel(request: web.Request) -> Component:
    kernel = request.app[KERNEL]
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            await kernel.jobs()
    except TimeoutError:
        return Component(
            name="kernel", state="failed", problem=f"its event loop has not answered for {ANSWER_LIMIT_S:g} s"
        )
    health = kernel.health()
    is_alive = health.state in {"healthy", "degraded"}
    return Component(name="kernel", state="ok" if is_alive else "failed", problem=None if is_alive else health.problem)


async def _store(request: web.Request, health: Health) -> Component:
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            await request.app[KERNEL].events(health.position, 1)
    except (GnomonError, TimeoutError) as exc:
        problem = health.problem or str(exc) or "it does not answer"  # the cause before its consequence
        return Component(name="store", state="failed", problem=problem, lag=health.backlog)
    state: ComponentState = "ok" if health.state == "healthy" else "degraded" if health.accepts_runs else "failed"
    return Component(name="store", state=state, problem=health.problem, lag=health.backlog)


def _plugin(plugin: Any) -> Component:
    """Return a plugin's component: one that hangs or fails harms nothing else, so the kernel stays ready."""
    is_healthy = plugin.state in {"healthy", "starting"} and plugin.lag <= MAX_LAG
    return Component(
        name=f"plugin:{plugin.name}", state="ok" if is_healthy else "degraded", problem=plugin.problem, lag=plugin.lag
    )
