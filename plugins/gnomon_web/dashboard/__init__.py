"""The dashboard: one page for every URL, and its static files.

The files under `static/` need no build step. They contain no data and are public, because the login is one of them.
"""

from __future__ import annotations

from gnomon_web.dashboard.pages import asset, page, page_of_job, page_of_run
from gnomon_web.http.routes import Route

PAGES = ("/", "/jobs", "/jobs/{job_id}", "/runs", "/runs/{execution_id}", "/alerts", "/forecast", "/activity")
"""The URLs that static/js/app.js handles: each can be opened, linked and reloaded."""


def routes() -> list[Route]:
    """Return the routes of the page and its files."""
    handlers = {"/jobs/{job_id}": page_of_job, "/runs/{execution_id}": page_of_run}
    pages = [
        Route(method="GET", path=path, handler=handlers.get(path, page), role="public", kind="asset", scoped=True)
        for path in PAGES
    ]
    return [*pages, Route(method="GET", path="/ui/{build}/{path:.+}", handler=asset, role="public", kind="asset")]
