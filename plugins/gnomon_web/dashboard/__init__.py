"""The dashboard: `routes()` is what gnomon_web.server asks for.

Each is a `Route` with kind "asset" (not in the OpenAPI document) and a role, for pages and scripts `public`: they
hold no data, and who is not logged in has to see the login. Handlers return a `web.Response` or `web.FileResponse`;
the strict Content-Security-Policy and the other headers are added by the server. A path may end in `{path:.+}`.
"""

from __future__ import annotations

from gnomon_web.routes import Route


def routes() -> list[Route]:
    """List the routes of the pages and their files."""
    return []
