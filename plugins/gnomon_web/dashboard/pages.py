"""Handlers of the page and its files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gnomon import GnomonError, UnknownExecutionError, UnknownJobError
from gnomon_web.app_keys import CONFIG, IDENTITY, kernel_of
from gnomon_web.dashboard.assets import build
from gnomon_web.resources.executions import expect_job

IMMUTABLE = "public, max-age=31536000, immutable"
PROGRAMS = ("/scheduler/", "/ws/", "/ui/")
"""Beginnings of paths that programs request: what is unknown there is a problem, also for a browser."""


async def page(request: web.Request) -> web.Response:
    """Send the page. It is the same for every URL: the browser selects the view."""
    tag = f'"{build().name}"'
    headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.ETAG: tag}
    if request.headers.get(hdrs.IF_NONE_MATCH) == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(text=build().page(request.app[CONFIG].base_path), content_type="text/html", headers=headers)


async def page_of_job(request: web.Request, job_id: str) -> web.Response:
    """Send the page, with status 404 for a job that does not exist."""
    return await _page_of(request, partial(expect_job, kernel_of(request), job_id))


async def page_of_run(request: web.Request, execution_id: str) -> web.Response:
    """Send the page, with status 404 for an execution that does not exist."""
    return await _page_of(request, partial(kernel_of(request).execution, execution_id))


async def _page_of(request: web.Request, read: Callable[[], Awaitable[object]]) -> web.Response:
    """Send the page, with status 404 if `read` raises for an unknown object.

    Without a login the status says nothing: strangers could probe for the ids of jobs.
    """
    try:
        if request[IDENTITY].may("viewer"):
            await read()
    except (UnknownJobError, UnknownExecutionError):
        return _missing(request)
    except GnomonError:  # the store is away: the page says so itself
        pass
    return await page(request)


def _missing(request: web.Request) -> web.Response:
    text = build().page(request.app[CONFIG].base_path)
    return web.Response(text=text, status=404, content_type="text/html", headers={hdrs.CACHE_CONTROL: "no-cache"})


@web.middleware
async def show_missing(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a browser that opens an unknown address with the page, which leads on, and with status 404."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        if request.match_info.http_exception is None or not _is_address(request):
            raise
        return _missing(request)


def _is_address(request: web.Request) -> bool:
    """Whether a person may have opened the address of a request, rather than a program."""
    base = request.app[CONFIG].base_path
    path = request.path.removeprefix(base)
    is_below = request.path == base or request.path.startswith(f"{base}/")
    accepts = request.headers.get(hdrs.ACCEPT, "")
    return request.method == "GET" and is_below and "text/html" in accepts and not path.startswith(PROGRAMS)


async def asset(request: web.Request) -> web.Response:
    """Send a file of the page; respond 404 for the files of another build."""
    file = build().files.get(request.match_info["path"])
    if file is None or request.match_info["build"] != build().name:
        raise web.HTTPNotFound
    headers = {hdrs.CACHE_CONTROL: IMMUTABLE, hdrs.VARY: hdrs.ACCEPT_ENCODING}
    body = file.body
    if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        headers[hdrs.CONTENT_ENCODING] = "gzip"
        body = file.compressed
    return web.Response(body=body, content_type=file.content_type, charset="utf-8", headers=headers)
