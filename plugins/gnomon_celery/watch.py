"""Notices bodies whose workers are gone: they give no heartbeat any more.

A worker that was only cut off finds the request to stop the body when it is back.

Only the clock of the Redis server counts. It is compared with heartbeats while the channel is reachable for as long as
a worker may be silent: after an outage every worker gets its time again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

from redis.asyncio import Redis

from gnomon_celery.channel import CANCEL, LOOK, Channel
from gnomon_celery.connection import AWAY
from gnomon_celery.reader import StreamReader
from gnomon_celery.remote_run import RemoteRun

HEARTBEATS = 3
"""So many heartbeats may be missing."""
LOOKS = 5
"""Looks in each heartbeat."""
LOOKED_AT_ONCE = 500


class HeartbeatWatch:
    """Compares the heartbeats of the bodies that have begun. Times are in seconds."""

    def __init__(
        self,
        redis: Redis,
        channel: Channel,
        heartbeat: float,
        result_ttl: int,
        reader: StreamReader,
        begun: Callable[[], Collection[RemoteRun]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._channel = channel
        self._look: Any = redis.register_script(LOOK)
        self._cancel: Any = redis.register_script(CANCEL)
        self._result_ttl = result_ttl
        self._interval = heartbeat / LOOKS
        self._allowed_ms = (HEARTBEATS * heartbeat - self._interval) * 1000
        self._reader = reader
        self._begun = begun
        self._monotonic = monotonic
        self._reachable_since = 0
        self._looked_at = 0.0
        self._suspects: dict[str, tuple[int, int]] = {}

    async def watch(self) -> None:
        """Compare heartbeats until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            runs = list(self._begun())
            self._suspects = {run.id: self._suspects[run.id] for run in runs if run.id in self._suspects}
            try:
                for start in range(0, len(runs), LOOKED_AT_ONCE):
                    await self.check(runs[start : start + LOOKED_AT_ONCE])
                if not runs:
                    await self.check([])
            except AWAY:
                self._looked_at = 0.0  # the reader shows it

    async def check(self, runs: list[RemoteRun]) -> None:
        """Compare the heartbeats of some runs, and end those that are lost."""
        before = self._monotonic()
        now, scores = await self._look(keys=[self._channel.alive], args=[run.id for run in runs])
        now = int(now)
        if before - self._looked_at > 2 * self._interval or self._monotonic() - before > self._interval:
            self._reachable_since = now  # Redis, or this kernel, stood still meanwhile
        self._looked_at = self._monotonic()
        for run, score in zip(runs, scores, strict=True):
            run.heard_ms = max(run.heard_ms or now, int(float(score)) if score else 0)
            silent_ms = now - max(run.heard_ms, self._reachable_since)
            if silent_ms <= self._allowed_ms:
                self._suspects.pop(run.id, None)
            elif self._reader.has_read(*self._suspects.setdefault(run.id, (now, self._reader.empty_reads))):
                await self._cancel(keys=[self._channel.cancel], args=[run.id, self._result_ttl])
                run.lose(
                    f"worker {run.worker} has given no sign of life of the run for {silent_ms / 1000:.0f} s: it is "
                    "gone, or cannot reach the channel"
                )
