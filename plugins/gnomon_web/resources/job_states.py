"""The states of all jobs, a line each: what a page needs to search and filter a list of thousands."""

from __future__ import annotations

import msgspec
from aiohttp import web

from gnomon.domain.execution import Status
from gnomon_web.app_keys import kernel_of
from gnomon_web.http.routes import Route
from gnomon_web.resources.last_executions import last_of


class JobLine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A job in a few bytes; what has its default is left out.

    `name` is what lists show, empty where that is the id. `running` counts its runs, and `last` is the status of the
    newest execution, as in a JobSummary.
    """

    id: str
    name: str = ""
    tags: list[str] = []
    paused: bool = False
    running: int = 0
    last: Status | None = None


class JobStates(msgspec.Struct, kw_only=True):
    """All jobs by id, as of a position of the log or a little later."""

    position: int
    jobs: list[JobLine]


def routes() -> list[Route]:
    """Return the routes of this module."""
    return [
        Route(
            method="GET",
            path="/scheduler/job-states",
            handler=list_states,
            role="viewer",
            tag="jobs",
            errors=(404,),
            scoped=True,
            has_past=True,
        )
    ]


async def list_states(request: web.Request) -> JobStates:
    """List the name, tags and state of every job, about 60 bytes each."""
    kernel = kernel_of(request)
    position = kernel.health().position
    views = await kernel.jobs()
    last = await last_of(request, [view.job.id for view in views])
    lines = []
    for view in views:
        newest, name = last[view.job.id], view.state.display_name or view.job.title
        lines.append(
            JobLine(
                id=view.job.id,
                name=name if name != view.job.id else "",
                tags=list(view.job.tags),
                paused=view.state.paused,
                running=len(view.running),
                last=newest.status if newest is not None else None,
            )
        )
    return JobStates(position=position, jobs=lines)
