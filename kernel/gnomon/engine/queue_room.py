"""Callers that wait until the queue of a job has room, in the order in which they came.

the queue is full ──► a caller joins the line ──► a run leaves the queue ──► the place is the caller's until
it has accepted its run, or gives up
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gnomon.engine.admission import Admission
from gnomon.engine.job_table import JobTable
from gnomon.errors import GnomonError
from gnomon.jobs.job import Job


class QueueRoom:
    """Knows how many more runs of a job would be accepted, and who waits for that."""

    def __init__(self, admission: Admission, jobs: JobTable) -> None:
        self._admission = admission
        self._jobs = jobs
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}
        self._held: Counter[str] = Counter()

    def places(self, job: Job, own: int = 0) -> float:
        """Return how many more runs of a job would be accepted by a caller that holds so many places itself."""
        return self._admission.places(job) - self._held[job.id] + own

    @asynccontextmanager
    async def place(self, job_id: str) -> AsyncIterator[None]:
        """Wait for a place, which is the caller's inside of the block; GnomonError where the kernel stops."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(job_id, deque()).append(waiting)
        self.offer()
        try:
            try:
                await waiting
            finally:
                if not waiting.done() or waiting.cancelled():
                    self._leave(job_id, waiting)
            yield
        finally:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._held[job_id] -= 1
                if not self._held[job_id]:
                    del self._held[job_id]
                self.offer()

    def offer(self) -> None:
        """Assign free places to those that wait; called whenever a run has left a queue or a slot."""
        if not self._lines:
            return  # as at the end of most runs
        for job_id, line in list(self._lines.items()):
            registered = self._jobs.get(job_id)  # where it was removed, its callers learn that
            while line and (registered is None or self.places(registered.job) >= 1):
                if not (waiting := line.popleft()).done():
                    self._held[job_id] += 1
                    waiting.set_result(None)
            if not line:
                del self._lines[job_id]

    def close(self) -> None:
        """Refuse those that wait: the kernel stops."""
        for line in self._lines.values():
            for waiting in line:
                if not waiting.done():
                    waiting.set_exception(GnomonError("the run was not accepted: the kernel stops"))
        self._lines.clear()

    def _leave(self, job_id: str, waiting: asyncio.Future[None]) -> None:
        line = self._lines.get(job_id)
        if line is not None and waiting in line:
            line.remove(waiting)
            if not line:
                del self._lines[job_id]
