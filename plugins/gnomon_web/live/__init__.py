"""The WebSockets: the log, the progress of runs, and the dashboard's feed.

All of them read one tail of the log, each at its own pace: see `tail.py`. docs/reference/websockets.md describes the
frames.
"""

from __future__ import annotations

from gnomon_web.http.routes import Handler, Route
from gnomon_web.live.dashboard_feed import serve_live
from gnomon_web.live.event_feed import serve_events
from gnomon_web.live.run_feed import serve_progress


def routes() -> list[Route]:
    """Return the routes of the WebSockets."""
    return [
        _websocket("/ws/progress/{task_id}", serve_progress),
        _websocket("/ws/events", serve_events),
        _websocket("/ws/live", serve_live),
    ]


def _websocket(path: str, handler: Handler) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        role="viewer",
        kind="websocket",
        tag="live",
        errors=(503,),
        scoped=True,
        on_wall=handler is serve_live,
    )
