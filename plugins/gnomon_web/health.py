"""Whether the kernel lives and is ready."""

from __future__ import annotations

from aiohttp import web

from gnomon_web.keys import KERNEL
from gnomon_web.routes import Route


def routes() -> list[Route]:
    """List the routes of this part."""
    return [Route(method="GET", path="/livez", handler=livez, role="public", tag="health", errors=(503,))]


async def livez(request: web.Request) -> dict[str, str]:
    """Say whether the kernel answers."""
    await request.app[KERNEL].jobs()
    return {"status": "alive"}
