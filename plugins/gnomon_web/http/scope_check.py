"""Which routes a token that is limited to some jobs may use, before their handlers run."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import web

from gnomon import UnknownExecutionError, UnknownJobError
from gnomon.wire.problems import OUTSIDE_OF_SCOPE
from gnomon_web.app_keys import KERNEL, note_denied_act
from gnomon_web.auth.roles import Scope
from gnomon_web.auth.scoped_kernel import ScopedKernel
from gnomon_web.errors import ApiError, culprit
from gnomon_web.http.routes import Route

NAMES = ("job_id", "execution_id", "task_id")
"""The variable parts of paths that name a job or an execution."""


def is_checked(route: Route) -> bool:
    """Whether a route shows a limited token nothing about other jobs: by its handler, by its path, or to everyone."""
    return route.scoped or route.role == "public" or any(name in NAMES for name in route.names_in_path)


async def check_scope(request: web.Request, route: Route, scope: Scope) -> None:
    """Refuse what is outside of a scope: with 404 as if it did not exist, with 403 where the call is about all jobs."""
    if not is_checked(route):
        detail = f"this call is about all jobs or the server, and the token is limited to {scope}"
        raise ApiError(OUTSIDE_OF_SCOPE, detail, errors=[culprit("header", "Authorization", detail)])
    try:
        await _expect_named(request, route, ScopedKernel(request.app[KERNEL], scope))
    except (UnknownJobError, UnknownExecutionError):
        named = [request.match_info[name] for name in NAMES if name in request.match_info]
        note_denied_act(request, ", ".join(named))
        raise


async def _expect_named(request: web.Request, route: Route, kernel: ScopedKernel) -> None:
    """Raise UnknownJobError or UnknownExecutionError where the path names something outside of the scope."""
    named = request.match_info
    if "job_id" in named:
        await kernel.expect_job(named["job_id"])
    if "execution_id" in named:
        await kernel.expect_execution(named["execution_id"])
    if "task_id" in named and not route.scoped:
        with suppress(UnknownExecutionError):
            await kernel.expect_execution(named["task_id"])
            return
        with suppress(UnknownJobError):
            await kernel.expect_job(named["task_id"])
            return
        raise UnknownExecutionError(named["task_id"])
