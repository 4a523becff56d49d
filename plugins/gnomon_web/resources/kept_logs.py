"""The logs of a few runs in memory: a viewer asks for many parts of one log, one after the other."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import Final

from aiohttp import web

from gnomon import KernelApi, LogLine
from gnomon_web.app_keys import PAST, kernel_of

AT_ONCE: Final = 10_000
"""Lines of one read."""
MOST_LINES: Final = 300_000
MOST_LOGS: Final = 8
"""Limits of what stays in memory, besides the log that was read last."""


class KeptLogs:
    """The lines that the store keeps of the runs that were read last."""

    def __init__(self) -> None:
        self._logs: dict[str, list[LogLine]] = {}
        self._lock = asyncio.Lock()

    async def of(self, kernel: KernelApi, execution_id: str) -> list[LogLine]:
        """Return all lines that are kept of a run now; the caller does not change the list."""
        async with self._lock:
            lines = self._logs.pop(execution_id, [])
            while True:
                more = await kernel.log(execution_id, lines[-1].number if lines else 0, AT_ONCE)
                lines = lines + more if more else lines  # a new list: others may be reading this one
                if len(more) < AT_ONCE:
                    break
            lines = await self._without_dropped(kernel, execution_id, lines)
            self._logs[execution_id] = lines
            self._forget()
            return lines

    async def _without_dropped(self, kernel: KernelApi, execution_id: str, lines: list[LogLine]) -> list[LogLine]:
        """Leave out what the store has dropped since it was read."""
        oldest = await kernel.log(execution_id, 0, 1)
        if not oldest or not lines:
            return oldest
        start = bisect_left(lines, oldest[0].number, key=lambda line: line.number)
        return lines[start:] if start else lines

    def _forget(self) -> None:
        """Drop what was read longest ago, beyond the limits."""
        while len(self._logs) > MOST_LOGS or (len(self._logs) > 1 and sum(map(len, self._logs.values())) > MOST_LINES):
            del self._logs[next(iter(self._logs))]


KEPT_LOGS = web.AppKey("kept_logs", KeptLogs)


async def kept_lines(request: web.Request, execution_id: str) -> list[LogLine]:
    """Return all lines that are kept of a run, as of the moment that a request asks about."""
    logs = KeptLogs() if PAST in request else request.app[KEPT_LOGS]
    return await logs.of(kernel_of(request), execution_id)
