"""`GET /docs`: a readable page of the OpenAPI document, in three small files without external resources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final

from aiohttp import web

from gnomon_web.routes import Route

FILES: Final = {
    "/docs": ("index.html", "text/html"),
    "/docs/docs.css": ("docs.css", "text/css"),
    "/docs/docs.js": ("docs.js", "text/javascript"),
}


def routes() -> list[Route]:
    """Return the routes of the page."""
    return [
        Route(method="GET", path=path, handler=_sender(*file), role="public", kind="asset")
        for path, file in FILES.items()
    ]


def _sender(name: str, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    text = files(__name__).joinpath(name).read_text(encoding="utf-8")

    async def send(request: web.Request) -> web.Response:  # noqa: ARG001 - required of every handler
        return web.Response(text=text, content_type=content_type, charset="utf-8")

    return send
