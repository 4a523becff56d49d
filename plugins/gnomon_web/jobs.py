"""Jobs: what there is, and what operators do with it."""

from __future__ import annotations

from aiohttp import web

from gnomon_web.keys import KERNEL
from gnomon_web.routes import Route


def routes() -> list[Route]:
    """List the routes of this part."""
    return [Route(method="GET", path="/scheduler/jobs", handler=list_jobs, role="viewer", tag="jobs")]


async def list_jobs(request: web.Request) -> list[dict[str, str]]:
    """List all jobs."""
    return [{"id": view.job.id, "name": view.job.title} for view in await request.app[KERNEL].jobs()]
