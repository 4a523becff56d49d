"""The dashboard: one page for every address, and the files that it is made of.

The files under `static/` are what browsers get, as they are written: there is no build step. They hold no data, so they
are for everybody: who is not logged in has to see the login.
"""

from __future__ import annotations

from gnomon_web.dashboard.pages import asset, page
from gnomon_web.routes import Route

PAGES = ("/", "/jobs", "/jobs/{job_id}", "/runs", "/runs/{execution_id}", "/alerts")
"""The addresses of static/js/app.js: each may be opened, linked and loaded anew."""


def routes() -> list[Route]:
    """List the routes of the pages and their files."""
    pages = [Route(method="GET", path=path, handler=page, role="public", kind="asset") for path in PAGES]
    return [*pages, Route(method="GET", path="/ui/{build}/{path:.+}", handler=asset, role="public", kind="asset")]
