"""Handlers of the page and its files."""

from __future__ import annotations

from aiohttp import hdrs, web

from gnomon_web.app_keys import CONFIG
from gnomon_web.dashboard.assets import build

IMMUTABLE = "public, max-age=31536000, immutable"


async def page(request: web.Request) -> web.Response:
    """Send the page. It is the same for every URL: the browser selects the view."""
    tag = f'"{build().name}"'
    headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.ETAG: tag}
    if request.headers.get(hdrs.IF_NONE_MATCH) == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(text=build().page(request.app[CONFIG].base_path), content_type="text/html", headers=headers)


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
