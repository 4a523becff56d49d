"""Status badges of jobs: small SVG images for READMEs and other dashboards."""

from __future__ import annotations

from html import escape
from typing import Final
from unicodedata import east_asian_width

from aiohttp import hdrs, web

from gnomon.api import JobView
from gnomon.text import visible
from gnomon.wire.records import LastExecution
from gnomon_web.app_keys import CONFIG, IDENTITY, kernel_of
from gnomon_web.auth.authenticator import require
from gnomon_web.http.routes import Route
from gnomon_web.resources.last_executions import LAST_EXECUTIONS

COLOURS: Final = {
    "running": "#0d5dbc",
    "succeeded": "#00695c",
    "failed": "#9c0313",
    "missed": "#885c0b",
    "cancelled": "#5f656e",
    "waiting": "#5f656e",
    "paused": "#5f656e",
    "never ran": "#5f656e",
}
"""The words of a badge and their colours, on which white text has a contrast of 4.5 or more."""
SUFFIX: Final = ".svg"
WORDS: Final = {"success": "succeeded", "scheduled": "waiting"}
MAX_NAME: Final = 60
"""Characters of a name; longer ones are cut."""
FRESH_S: Final = 30
"""Seconds for which a cache may show a badge again."""
_WIDE, _NARROW, _PADDING = 11.0, 6.6, 6.0


def routes() -> list[Route]:
    """Return the routes of this module."""
    path = r"/badge/{image:[^/]+\.svg}"
    return [Route(method="GET", path=path, handler=get_badge, role="public", kind="asset", scoped=True)]


async def get_badge(request: web.Request, image: str) -> web.Response:
    """Return the name of a job and its state as an image. Viewers may see it, or everyone with `public_badges`."""
    job_id, config = image.removesuffix(SUFFIX), request.app[CONFIG]
    if not config.public_badges:
        require(request[IDENTITY], "viewer")
    view = await kernel_of(request).job(job_id)
    last = await request.app[LAST_EXECUTIONS].of([job_id])
    state = _state(view, last[job_id])
    headers = {str(hdrs.CACHE_CONTROL): f"{'public' if config.public_badges else 'private'}, max-age={FRESH_S}"}
    if config.public_badges:
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"  # pages of other sites show it
    name = view.state.display_name or view.job.title
    return web.Response(text=draw(name, state), content_type="image/svg+xml", charset="utf-8", headers=headers)


def _state(view: JobView, last: LastExecution | None) -> str:
    if view.running:
        return "running"
    if view.state.paused:
        return "paused"
    return WORDS.get(last.status, last.status) if last is not None else "never ran"


def draw(name: str, state: str) -> str:
    """Return the badge as SVG."""
    name = visible(name)
    name = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
    left, right = _width(name), _width(state)
    label = escape(f"{name}: {state}")
    texts = "".join(
        f'<text x="{x:g}" y="14" textLength="{width - 2 * _PADDING:g}">{escape(text)}</text>'
        for text, x, width in ((name, _PADDING, left), (state, left + _PADDING, right))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right:g}" height="20" role="img" aria-label="{label}">'
        f"<title>{label}</title>"
        f'<rect width="{left + right:g}" height="20" rx="3" fill="#3c424a"/>'
        f'<path d="M{left:g} 0h{right - 3:g}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right - 3:g}z" fill="{COLOURS[state]}"/>'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{texts}</g></svg>\n'
    )


def _width(text: str) -> float:
    wide = sum(east_asian_width(character) in "WF" for character in text)
    return round(wide * _WIDE + (len(text) - wide) * _NARROW + 2 * _PADDING, 1)
