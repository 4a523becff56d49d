"""What dashboards show of jobs and runs, in the form of the REST calls, made once for all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Final

import msgspec
from aiohttp import web

from gnomon import Execution, ExecutionQuery, Kernel
from gnomon.domain.execution import Status
from gnomon_web.health import readyz
from gnomon_web.jobs import summaries
from gnomon_web.live.messages import write_message
from gnomon_web.live.tail import Tail
from gnomon_web.resources import JobSummary, record

RECENT = 100
"""Finished runs in a picture, the newest ones."""
MOST_UNFINISHED = 1_000
"""Scheduled and running ones in a picture; of more than that the newest."""
FRESH = 0.2
"""Seconds for which a picture is given to others too: after a restart all dashboards come back at once."""
PAGE = 200
UNFINISHED: Final[tuple[Status, ...]] = ("scheduled", "running")
FINISHED: Final[tuple[Status, ...]] = ("success", "failed", "missed", "cancelled")


class Picture(msgspec.Struct, frozen=True):
    """Everything at one moment; `seq` is a position that it is not older than."""

    seq: int
    jobs: msgspec.Raw
    running: msgspec.Raw
    recent: msgspec.Raw
    health: msgspec.Raw


class Pictures:
    """Takes pictures."""

    def __init__(self, kernel: Kernel, tail: Tail) -> None:
        self._kernel = kernel
        self._tail = tail
        self._newest: Picture | None = None
        self._taken_at = 0.0
        self._taking = asyncio.Lock()

    async def take(self, request: web.Request, seq: int) -> Picture:
        """Return a picture of this moment, or one that was taken for another dashboard just now.

        It is never older than position `seq`: what a dashboard has been told is not taken back.
        """
        async with self._taking:
            now = asyncio.get_running_loop().time()
            if (found := self._newest) is None or found.seq < seq or now - self._taken_at > FRESH:
                found = self._newest = await self._take(request)
                self._taken_at = now
            return found

    async def jobs(self, request: web.Request, job_ids: Collection[str]) -> dict[str, JobSummary]:
        """Return these jobs by id; without those that there are not any more."""
        if not job_ids:
            return {}
        views = [view for view in await self._kernel.jobs() if view.job.id in job_ids]
        return {summary.id: summary for summary in await summaries(request, views)}

    async def _take(self, request: web.Request) -> Picture:
        seq = self._tail.head  # before anything is read: what comes in between is told again, never left out
        jobs = await summaries(request, await self._kernel.jobs())
        # In this order: a run that ends in between is then in both lists, and not in neither.
        running = await self._executions(UNFINISHED, MOST_UNFINISHED)
        recent = await self._executions(FINISHED, RECENT)
        return Picture(
            seq=seq,
            jobs=_raw(jobs),
            running=_raw([record(one) for one in running]),
            recent=_raw([record(one) for one in recent]),
            health=_raw((await readyz(request)).body),
        )

    async def _executions(self, status: tuple[Status, ...], most: int) -> list[Execution]:
        found: list[Execution] = []
        cursor: str | None = None
        while len(found) < most:
            page = await self._kernel.executions(
                ExecutionQuery(status=status, limit=min(PAGE, most - len(found)), cursor=cursor)
            )
            found += page.items
            if (cursor := page.next) is None:
                break
        return found


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(write_message(value))
