"""Whether the kernel lives and is ready: asked by machines, so the status code says it all, and no secret is told."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import msgspec
from aiohttp import web

from gnomon import GnomonError
from gnomon.api import Health
from gnomon_web.keys import AUTHENTICATOR, IDENTITY, KERNEL
from gnomon_web.routes import Answer, Route

ANSWERS_WITHIN = 5.0
"""Seconds in which the kernel's loop has to answer; one that does not is blocked."""
LARGEST_LAG = 10_000
"""Events that a plugin may be behind: beyond, it no longer gets them from memory."""

ComponentState = Literal["ok", "degraded", "failed"]


class Component(msgspec.Struct, kw_only=True):
    """A part of the kernel. `problem` is told to viewers only, null to everybody else."""

    name: str
    state: ComponentState
    problem: str | None = None
    lag: int | None = None


class HealthReport(msgspec.Struct, kw_only=True):
    """How the kernel is: `ok`; `degraded`, when it works and something needs to be looked at; `failed`."""

    status: ComponentState
    components: list[Component]


def routes() -> list[Route]:
    """List the routes of this part."""
    base: dict[str, Any] = {"method": "GET", "role": "public", "tag": "health", "also": (503,)}
    return [
        Route(path="/livez", handler=livez, **base),
        Route(path="/readyz", handler=readyz, **base),
        Route(path="/scheduler/health", handler=readyz, **base),
    ]


async def livez(request: web.Request) -> Answer[HealthReport]:
    """Say whether the process should be left alone: its loop answers, and the log is still its own."""
    return _answer(request, [await _kernel(request)])


async def readyz(request: web.Request) -> Answer[HealthReport]:
    """Say whether it does its work: the store answers, new runs are taken, every plugin is alive."""
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
        async with asyncio.timeout(ANSWERS_WITHIN):
            await kernel.jobs()
    except TimeoutError:
        return Component(name="kernel", state="failed", problem=f"its loop has not answered for {ANSWERS_WITHIN:g} s")
    health = kernel.health()
    is_alive = health.state in {"healthy", "degraded"}
    return Component(name="kernel", state="ok" if is_alive else "failed", problem=None if is_alive else health.problem)


async def _store(request: web.Request, health: Health) -> Component:
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            await request.app[KERNEL].events(health.position, 1)
    except (GnomonError, TimeoutError) as exc:
        problem = health.problem or str(exc) or "it does not answer"  # what is wrong, before what follows from it
        return Component(name="store", state="failed", problem=problem, lag=health.backlog)
    state: ComponentState = "ok" if health.state == "healthy" else "degraded" if health.accepts_runs else "failed"
    return Component(name="store", state=state, problem=health.problem, lag=health.backlog)


def _plugin(plugin: Any) -> Component:
    """Tell of a plugin: one that hangs or fails harms nobody else, so that the kernel is ready all the same."""
    is_well = plugin.state in {"healthy", "starting"} and plugin.lag <= LARGEST_LAG
    return Component(
        name=f"plugin:{plugin.name}", state="ok" if is_well else "degraded", problem=plugin.problem, lag=plugin.lag
    )
