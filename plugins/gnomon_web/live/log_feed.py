"""The log lines of the runs that a dashboard shows, as they are written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gnomon import KernelApi, UnknownExecutionError
from gnomon_web.http.responses import encode_json
from gnomon_web.live.messages import LogLines
from gnomon_web.live.websocket import WebSocket

POLL_S = 0.25
"""Seconds between two reads of a run's lines."""
MAX_LINES = 500
"""Lines in one frame."""
PREFIX = "log:"


class LogFeed:
    """Follows the runs of the topics `log:ID` and `log:ID:NUMBER`, each until it is over and all its lines are sent."""

    def __init__(self, kernel: KernelApi) -> None:
        self._kernel = kernel
        self._sent: dict[str, int] = {}
        self._over: set[str] = set()
        self._changed = asyncio.Event()

    def follow(self, topics: Sequence[str]) -> None:
        """Follow the runs that these topics name; a new one from its first line, or after the line that is given."""
        wanted: dict[str, int] = {}
        for topic in topics:
            if topic.startswith(PREFIX):
                name, _, after = topic.removeprefix(PREFIX).partition(":")
                wanted[name] = int(after[:15]) if after else -1
        self._sent = {name: self._sent.get(name, after) for name, after in wanted.items()}
        self._over &= wanted.keys()
        self._changed.set()

    async def send(self, websocket: WebSocket) -> None:
        """Send lines until cancelled."""
        while True:
            open_runs = [name for name in self._sent if name not in self._over]
            for name in open_runs:
                await self._send_new_lines(websocket, name)
            if not open_runs:
                await self._changed.wait()
                self._changed.clear()
            await asyncio.sleep(POLL_S)

    async def _send_new_lines(self, websocket: WebSocket, name: str) -> None:
        was_over = await self._is_over(name)  # read first: a run that is over has logged all its lines
        sent = self._sent.get(name)
        lines = await self._kernel.log(name, max(sent or 0, 0), MAX_LINES)
        if sent is None or self._sent.get(name) != sent:
            return  # no longer followed
        self._sent[name] = lines[-1].number if lines else max(sent, 0)
        if was_over and len(lines) < MAX_LINES:
            self._over.add(name)
        if lines or sent < 0:
            first = lines[0].number if lines else 1
            await websocket.send(encode_json(LogLines(execution_id=name, lines=lines, first=first)))

    async def _is_over(self, name: str) -> bool:
        try:
            return (await self._kernel.execution(name)).is_over
        except UnknownExecutionError:
            return True
