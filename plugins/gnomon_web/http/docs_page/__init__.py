"""`GET /docs`, which shows the OpenAPI document, and `GET /docs/problems`, the page that problem types link to."""

from __future__ import annotations

import html
import re
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final

from aiohttp import web

from gnomon.wire.problems import KINDS, PAGE, ProblemKind
from gnomon_web.http.routes import Route

FILES: Final = {
    "/docs": ("index.html", "text/html"),
    "/docs/docs.css": ("docs.css", "text/css"),
    "/docs/docs.js": ("docs.js", "text/javascript"),
    PAGE: ("problems.html", "text/html"),
}
_CODE = re.compile(r"`([^`]+)`")


def routes() -> list[Route]:
    """Return the routes of this module."""
    return [
        Route(method="GET", path=path, handler=_sender(*file), role="public", kind="asset")
        for path, file in FILES.items()
    ]


def _sender(name: str, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    text = files(__name__).joinpath(name).read_text(encoding="utf-8").replace("{problems}", _problems())

    async def send(request: web.Request) -> web.Response:  # noqa: ARG001 - every handler gets it
        return web.Response(text=text, content_type=content_type, charset="utf-8")

    return send


def _problems() -> str:
    return "\n".join(map(_section, KINDS))


def _section(kind: ProblemKind) -> str:
    meaning = _CODE.sub(r"<code>\1</code>", html.escape(kind.meaning, quote=False))
    heading = f"{html.escape(kind.title)} <code>{kind.status}</code>"
    return f'<section id="{kind.name}"><h2>{heading}</h2><p><code>{kind.name}</code></p><p>{meaning}</p></section>'
