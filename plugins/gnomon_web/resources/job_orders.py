"""Jobs that are defined at run time: their preview."""

from __future__ import annotations

from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta

from gnomon.domain.job_preview import JobPreview
from gnomon_web.app_keys import kernel_of
from gnomon_web.http.routes import Route

KEYS = (
    "The keys of a job, as a table [[jobs]] of the config has them. `func` is `package.module:callable`, or the id of "
    "a job that the deployment declares."
)
JobKeys = Annotated[dict[str, Any], Meta(title="JobKeys", description=KEYS)]


def routes() -> list[Route]:
    """Return the routes of this module."""
    return [
        Route(method="POST", path="/scheduler/jobs/preview", handler=preview, role="operator", tag="jobs"),
    ]


async def preview(request: web.Request, body: JobKeys) -> JobPreview:
    """Return what the keys of a job would do: all problems with their places, or the fires that they gain and lose.

    Nothing changes. The answer is the same for keys that are not valid: `ok` is false, and `problems` has them all.
    """
    return await kernel_of(request).preview_job(body)
