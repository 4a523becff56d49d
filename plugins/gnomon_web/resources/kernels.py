"""The processes on the log: the kernel that leads, and those that follow."""

from __future__ import annotations

from aiohttp import web

from gnomon import KernelMember
from gnomon_web.app_keys import KERNEL
from gnomon_web.http.routes import Route


def routes() -> list[Route]:
    """Return the routes of this module."""
    return [Route(method="GET", path="/scheduler/kernels", handler=list_kernels, role="viewer", tag="health")]


async def list_kernels(request: web.Request) -> list[KernelMember]:
    """List the processes on the log: the kernel that leads first, then those that follow, with their lag."""
    return await request.app[KERNEL].kernels()
