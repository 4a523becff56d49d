"""The log lines of the runs that a dashboard looks at, as they grow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gnomon import Kernel, UnknownExecutionError
from gnomon_web.live.connection import Connection
from gnomon_web.live.messages import LogLines, write_message

PAUSE = 0.25
"""Seconds between two looks at the lines of a run."""
LINES = 500
"""Lines in one frame."""
PREFIX = "log:"


class LogFeed:
    """Follows the runs of the topics `log:ID`; one that is over is looked at until all its lines are sent."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._sent: dict[str, int] = {}
        self._over: set[str] = set()
        self._changed = asyncio.Event()

    def follow(self, topics: Sequence[str]) -> None:
        """Follow the runs that these topics name, from their first line on those that are new."""
        wanted = [topic.removeprefix(PREFIX) for topic in topics if topic.startswith(PREFIX)]
        self._sent = {name: self._sent.get(name, -1) for name in wanted}
        self._over &= set(wanted)
        self._changed.set()

    async def talk(self, connection: Connection) -> None:
        """Send lines until cancelled."""
        while True:
            going = [name for name in self._sent if name not in self._over]
            for name in going:
                await self._look(connection, name)
            if not going:
                await self._changed.wait()
                self._changed.clear()
            await asyncio.sleep(PAUSE)

    async def _look(self, connection: Connection, name: str) -> None:
        was_over = await self._is_over(name)  # asked first: what it logged at its end is there when it is over
        sent = self._sent.get(name)
        lines = await self._kernel.log(name, max(sent or 0, 0), LINES)
        if sent is None or self._sent.get(name) != sent:
            return  # not wanted any more
        self._sent[name] = lines[-1].number if lines else max(sent, 0)
        if was_over and len(lines) < LINES:
            self._over.add(name)
        if lines or sent < 0:
            first = lines[0].number if lines else 1
            await connection.send(write_message(LogLines(execution_id=name, lines=lines, first=first)))

    async def _is_over(self, name: str) -> bool:
        try:
            return (await self._kernel.execution(name)).is_over
        except UnknownExecutionError:
            return True
