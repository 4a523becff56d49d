"""How long running executions still need, for dashboards: computed once for all of them, and sent when it changes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta

from aiohttp import web

from gnomon import ExecutionQuery, GnomonError
from gnomon.domain.eta import Eta
from gnomon_web.app_keys import IDENTITY, kernel_of
from gnomon_web.auth.roles import Scope
from gnomon_web.http.responses import encode_json
from gnomon_web.live.messages import Etas
from gnomon_web.live.websocket import WebSocket
from gnomon_web.resources.etas import etas_of

POLL_S = 2.0
"""Seconds between two looks while dashboards are connected."""
MOST_RUNS = 200
"""Running executions with an estimate: the newest ones."""
TOLERANCE, TOLERANCE_S = 0.05, 1.0
"""By how much a range may differ from the one that the dashboard counts down, before it is sent again."""


class SharedEtas:
    """The present estimates, by what the callers may see."""

    def __init__(self) -> None:
        self._found: dict[Scope | None, tuple[float, dict[str, Eta]]] = {}
        self._reading = asyncio.Lock()

    async def read(self, request: web.Request) -> dict[str, Eta]:
        """Return the estimates of running executions by id, at most POLL_S old."""
        async with self._reading:
            now, scope = asyncio.get_running_loop().time(), request[IDENTITY].scope
            read_at, found = self._found.get(scope, (float("-inf"), {}))
            if now - read_at >= POLL_S:
                with suppress(GnomonError):  # a store that is away for a while: the last ones are counted down
                    found = await _present(request)
                self._found = {key: kept for key, kept in self._found.items() if now - kept[0] < POLL_S}
                self._found[scope] = now, found
            return found


async def _present(request: web.Request) -> dict[str, Eta]:
    kernel = kernel_of(request)
    if not kernel.health().running:
        return {}
    query = ExecutionQuery(status=("running",), limit=MOST_RUNS, brief=True, counts=False)
    return await etas_of(request, (await kernel.executions(query)).items)


class EtaFeed:
    """Sends a dashboard those estimates that it does not get by counting down the ones that it has."""

    def __init__(self, request: web.Request, shared: SharedEtas) -> None:
        self._request = request
        self._shared = shared
        self._sent: dict[str, Eta] = {}

    async def send(self, websocket: WebSocket) -> None:
        """Send changes until cancelled."""
        while True:
            if changed := changes(self._sent, await self._shared.read(self._request)):
                await websocket.send(encode_json(Etas(at=kernel_of(self._request).clock.now(), etas=changed)))
                for execution_id, eta in changed.items():
                    if eta is None:
                        del self._sent[execution_id]
                    else:
                        self._sent[execution_id] = eta
            await asyncio.sleep(POLL_S)


def changes(sent: dict[str, Eta], present: dict[str, Eta]) -> dict[str, Eta | None]:
    """Return the estimates that differ from those that were sent, counted down; None for one that is gone."""
    changed: dict[str, Eta | None] = dict.fromkeys(sent.keys() - present.keys())
    for execution_id, eta in present.items():
        known = sent.get(execution_id)
        if known is None or known.basis != eta.basis or not _is_close(known, eta):
            changed[execution_id] = eta
    return changed


def _is_close(known: Eta, eta: Eta) -> bool:
    low, high = _counted_down(known.low, known.at, eta.at), _counted_down(known.high, known.at, eta.at)
    allowed = max(TOLERANCE * eta.high, TOLERANCE_S)
    return abs(low - eta.low) <= allowed and abs(high - eta.high) <= allowed


def _counted_down(seconds: float, since: datetime, now: datetime) -> float:
    return max(seconds - (now - since) / timedelta(seconds=1), 0.0)
