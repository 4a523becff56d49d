"""The WebSockets: `routes()` is what gnomon_web.server asks for.

Each is a `Route` with kind "websocket" and a role: `Route(method="GET", path="/ws/events", handler=...,
role="viewer", kind="websocket")`. Before its handler is called, Host, Origin, role and query have been checked, and
`request[IDENTITY]` is who asks. `request.app[KERNEL]` is the kernel, `request.app[HUB]` (from live.hub) is given
every event. Whether a login has ended while a connection is open tells
`request.app[AUTHENTICATOR].is_valid(identity)`; on false, close with 4401. The keys are in gnomon_web.keys.
"""

from __future__ import annotations

from gnomon_web.routes import Route


def routes() -> list[Route]:
    """List the routes of the WebSockets."""
    return []
