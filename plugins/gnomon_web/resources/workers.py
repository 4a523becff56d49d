"""The workers elsewhere that run bodies, and the queues in which runs wait for them."""

from __future__ import annotations

from aiohttp import web

from gnomon import WorkerView
from gnomon_web.app_keys import KERNEL
from gnomon_web.http.routes import Route


def routes() -> list[Route]:
    """Return the routes of this module."""
    return [Route(method="GET", path="/scheduler/workers", handler=list_workers, role="viewer", tag="health")]


async def list_workers(request: web.Request) -> WorkerView:
    """List the workers elsewhere that run bodies, and their queues with the runs that wait in them."""
    return await request.app[KERNEL].workers()
