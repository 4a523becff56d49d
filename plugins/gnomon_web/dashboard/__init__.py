"""The dashboard: one page for every URL, and its static files.

The files under `static/` need no build step. They contain no data and are public, because the login is one of them.
"""

from __future__ import annotations

from gnomon_web.dashboard.pages import asset, page, page_of_job, page_of_run
from gnomon_web.http.routes import Handler, Route

PAGES = (
    *("/", "/jobs", "/jobs/{job_id}", "/jobs/{job_id}/why"),
    *("/runs", "/runs/{execution_id}", "/runs/{execution_id}/why"),
    *("/alerts", "/forecast", "/activity", "/compare"),
)
"""The URLs that static/js/app.js handles: each can be opened, linked and reloaded."""


def routes() -> list[Route]:
    """Return the routes of the page and its files."""
    pages = [
        Route(method="GET", path=path, handler=_handler(path), role="public", kind="asset", scoped=True)
        for path in PAGES
    ]
    return [*pages, Route(method="GET", path="/ui/{build}/{path:.+}", handler=asset, role="public", kind="asset")]


def _handler(path: str) -> Handler:
    if "{execution_id}" in path:
        return page_of_run
    return page_of_job if "{job_id}" in path else page
