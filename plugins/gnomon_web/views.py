"""What the server folds from events, together: each part is given every batch, in order."""

from __future__ import annotations

from collections.abc import Sequence

from gnomon import Event, Kernel
from gnomon_web.latest import Latest
from gnomon_web.live.hub import Hub
from gnomon_web.metrics import Metrics


class Views:
    """All that is fed with events. `begin` is called on the loop of the plugin, before the first event."""

    def __init__(self, latest: Latest, metrics: Metrics, hub: Hub) -> None:
        self.latest = latest
        self.metrics = metrics
        self.hub = hub

    @classmethod
    async def begin(cls, kernel: Kernel, max_connections: int) -> Views:
        """Make them for a kernel; `max_connections` WebSockets may be open at once."""
        jobs = [view.job.id for view in await kernel.jobs()]
        return cls(Latest(kernel), Metrics(kernel, jobs), Hub(kernel, max_connections))

    def take(self, events: Sequence[Event], *, replaying: bool) -> None:
        """Take a batch in; the hub comes last, so that who is told by it finds the others in step."""
        self.latest.take(events)
        if not replaying:
            self.metrics.take(events)
        self.hub.publish(events)
