"""The server's projections of the log, each fed with every batch of events, in order."""

from __future__ import annotations

from collections.abc import Sequence

from gnomon import Event, KernelApi
from gnomon_web.live.connections import LiveConnections
from gnomon_web.resources.last_executions import LastExecutions
from gnomon_web.resources.metrics import Metrics


class Projections:
    """Everything that is folded from events. `begin` is called on the loop of the plugin, before the first event."""

    def __init__(self, last_executions: LastExecutions, metrics: Metrics, live: LiveConnections) -> None:
        self.last_executions = last_executions
        self.metrics = metrics
        self.live = live

    @classmethod
    async def begin(cls, kernel: KernelApi, max_connections: int) -> Projections:
        """Start them for a kernel; at most `max_connections` WebSockets may be open."""
        jobs = [view.job.id for view in await kernel.jobs()]
        return cls(LastExecutions(kernel), Metrics(kernel, jobs), LiveConnections(kernel, max_connections))

    def apply(self, events: Sequence[Event], *, replaying: bool) -> None:
        """Apply a batch. The live connections come last, so that what they send agrees with the other projections."""
        self.last_executions.apply(events)
        if not replaying:
            self.metrics.apply(events)
        self.live.publish(events)
