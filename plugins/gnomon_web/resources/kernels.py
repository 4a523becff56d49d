"""The processes on the log: the kernel that leads, and those that follow."""

from __future__ import annotations

from aiohttp import web

from gnomon import HandOver, KernelMember
from gnomon_web.app_keys import KERNEL, actor_of, kernel_of
from gnomon_web.http.routes import Route
from gnomon_web.resources.parameters import ActionReason


def routes() -> list[Route]:
    """Return the routes of this module."""
    return [
        Route(method="GET", path="/scheduler/kernels", handler=list_kernels, role="viewer", tag="health"),
        Route(
            method="POST",
            path="/scheduler/step-down",
            handler=step_down,
            role="admin",
            tag="operators",
            status=202,
            errors=(409,),
        ),
    ]


async def list_kernels(request: web.Request) -> list[KernelMember]:
    """List the processes on the log: the kernel that leads first, then those that follow, with their lag."""
    return await request.app[KERNEL].kernels()


async def step_down(request: web.Request, query: ActionReason) -> HandOver:
    """Make the kernel that leads hand the log to another one; answered when that has begun. Not for limited tokens."""
    return await kernel_of(request).step_down(actor=actor_of(request), reason=query.reason)
