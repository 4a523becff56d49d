"""The WebSockets: the log as it grows, runs as they go, and what a dashboard shows.

All of them read one tail of the log, each at its own pace: `tail.py` says how. docs/reference/websockets.md is what
clients are told.
"""

from __future__ import annotations

from gnomon_web.live.dashboard_feed import serve_live
from gnomon_web.live.event_feed import serve_events
from gnomon_web.live.run_feed import serve_progress
from gnomon_web.routes import Handler, Route


def routes() -> list[Route]:
    """List the routes of the WebSockets."""
    return [
        _socket("/ws/progress/{task_id}", serve_progress),
        _socket("/ws/events", serve_events),
        _socket("/ws/live", serve_live),
    ]


def _socket(path: str, handler: Handler) -> Route:
    return Route(method="GET", path=path, handler=handler, role="viewer", kind="websocket", tag="live", errors=(503,))
