"""Looks at the parts of the deployment: the store, the plugins, and the queues of workers elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from gnomon import GnomonError, Health, KernelApi
from gnomon.domain.kernel_health import NEEDS_ATTENTION
from gnomon.durations import Duration
from gnomon.logs import get_logger
from gnomon_alerts.conditions import Finding
from gnomon_alerts.detector import Detector
from gnomon_alerts.rules import Kind

log = get_logger("gnomon.alerts")

NO_WORKERS_PAUSE_S = 300.0
"""Seconds until a kernel whose bodies all run with it is asked again for queues."""
WORKERS_PAUSE_S = 30.0


class PartWatch:
    """What is in trouble, and since when, as this process has seen it."""

    def __init__(self) -> None:
        self._since: dict[tuple[Kind, str], datetime] = {}
        self._queues_at = float("-inf")

    async def look(self, kernel: KernelApi, detector: Detector, now: datetime) -> None:
        """Decide about all parts."""
        health = kernel.health()
        self._decide(detector, "store", _stores(health), now)
        self._decide(detector, "plugin", _plugins(health), now)
        if kernel.clock.monotonic() < self._queues_at or not detector.rules.of_part("queue").enabled:
            return
        try:
            view = await kernel.workers()
        except GnomonError as exc:
            log.warning("the queues could not be looked at", problem=str(exc))
            return
        pause_s = WORKERS_PAUSE_S if view.queues or view.workers else NO_WORKERS_PAUSE_S
        self._queues_at = kernel.clock.monotonic() + pause_s
        queues = {f"{one.runner}:{one.name}": one.problem for one in view.queues if one.problem is not None}
        self._decide(detector, "queue", queues, now)

    def _decide(self, detector: Detector, kind: Kind, troubles: Mapping[str, str], now: datetime) -> None:
        for key in [one for one in self._since if one[0] == kind and one[1] not in troubles]:
            del self._since[key]
        limit = detector.rules.of_part(kind).limit or Duration()
        found = {}
        for subject, text in troubles.items():
            since = self._since.setdefault((kind, subject), now)
            if now - since >= limit - timedelta(microseconds=1):
                found[subject] = Finding(kind=kind, opener=since.isoformat(), since=since, last_at=now, message=text)
        detector.observe(kind, found, troubles)


def _stores(health: Health) -> dict[str, str]:
    if health.store_state == "healthy":
        return {}
    return {health.store: f"the store is {health.store_state}: {health.store_problem or 'it says nothing more'}"}


def _plugins(health: Health) -> dict[str, str]:
    return {
        one.name: f"the plugin is {one.state}: {one.problem or f'{one.lag:,} events behind'}"
        for one in health.plugins
        if one.state in NEEDS_ATTENTION
    }
