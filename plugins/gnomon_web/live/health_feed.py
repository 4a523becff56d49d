"""The kernel's health for dashboards: read once a second for all of them, and sent to each when it has changed."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from gnomon_web.app_keys import IDENTITY
from gnomon_web.http.responses import encode_json
from gnomon_web.live.messages import HealthChanged
from gnomon_web.live.websocket import WebSocket
from gnomon_web.resources.health import HealthReport, readyz

POLL_S = 1.0
"""Seconds between two reads of the health while dashboards are connected."""


class SharedHealth:
    """The latest answer of /readyz, for viewers."""

    def __init__(self) -> None:
        self._reports: dict[bool, tuple[float, HealthReport]] = {}
        self._reading = asyncio.Lock()

    async def read(self, request: web.Request) -> HealthReport:
        """Return the health, at most a second old."""
        async with self._reading:
            now, is_limited = asyncio.get_running_loop().time(), request[IDENTITY].scope is not None
            read_at, report = self._reports.get(is_limited, (0.0, None))
            if report is None or now - read_at >= POLL_S:
                report = (await readyz(request)).body  # without the problems for a limited token: they name jobs
                self._reports[is_limited] = now, report
            return report


class HealthFeed:
    """Sends the health to one dashboard when it differs from what that dashboard has."""

    def __init__(self, request: web.Request, shared: SharedHealth) -> None:
        self._request = request
        self._shared = shared
        self._sent: HealthReport | None = None

    def note(self, report: HealthReport) -> None:
        """Note the health that a snapshot has brought to the dashboard."""
        self._sent = _without_lags(report)

    async def send(self, websocket: WebSocket) -> None:
        """Send changes until cancelled."""
        while True:
            report = _without_lags(await self._shared.read(self._request))
            if self._sent is None or report != msgspec.structs.replace(self._sent, timestamp=report.timestamp):
                self._sent = report
                await websocket.send(encode_json(HealthChanged(health=report)))
            await asyncio.sleep(POLL_S)


def _without_lags(report: HealthReport) -> HealthReport:
    """Leave out the lags, which change all the time; /readyz has them."""
    components = [msgspec.structs.replace(one, lag=None) for one in report.components]
    return msgspec.structs.replace(report, components=components)
