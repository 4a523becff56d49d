"""The client: what can be asked of a kernel elsewhere, in the kernel's words."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import msgspec

from gnomon.api import Triggered
from gnomon.client import following
from gnomon.client.session import Session, segment
from gnomon.domain import codec
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution, Status
from gnomon.domain.records import ActionPage, LogLine
from gnomon.wire.records import (
    Day,
    ExecutionPage,
    HistoryPage,
    JobDetail,
    JobStatistics,
    JobSummary,
    LogPage,
    Record,
    RecordPage,
    TriggeredRecord,
)
from gnomon.wire.run_frame import RunFrame

LINES = 1000
LOOK = 0.5
"""Seconds between two looks at the lines of a run: a kernel writes them down four times a second."""


class Client:
    """A kernel at `url`, base path included, which `token` lets in. Used as `async with Client(...) as client:`.

    A server that goes away is waited for `patience` long, and what was asked is asked again: nothing happens twice. Who
    acts is what the server calls the token. Raises what the kernel would raise (UnknownJobError, ExecutionOverError,
    ...), and ClientError: NoServerError, NotAllowedError.
    """

    def __init__(self, url: str, *, token: str | None = None, patience: timedelta = timedelta(seconds=60)) -> None:
        self._session = Session(url, token, patience.total_seconds())

    async def __aenter__(self) -> Self:
        """Begin; nothing is sent yet."""
        await self._session.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self._session.__aexit__(exc_type, exc, traceback)

    # --- jobs ---

    async def jobs(self) -> list[JobSummary]:
        """List the jobs."""
        return await self._session.request("GET", "/scheduler/jobs", list[JobSummary])

    async def job(self, job_id: str) -> JobDetail:
        """Tell all of a job; UnknownJobError."""
        return await self._session.request("GET", f"/scheduler/jobs/{segment(job_id)}", JobDetail, asked=job_id)

    async def pause(self, job_id: str, *, reason: str | None = None) -> JobSummary:
        """Hold a job's fires back until it is resumed."""
        path = f"/scheduler/jobs/{segment(job_id)}/pause"
        return await self._session.request("POST", path, JobSummary, asked=job_id, query={"reason": reason})

    async def resume(self, job_id: str, *, reason: str | None = None) -> JobSummary:
        """Let a job fire again."""
        path = f"/scheduler/jobs/{segment(job_id)}/resume"
        return await self._session.request("POST", path, JobSummary, asked=job_id, query={"reason": reason})

    async def actions(self, *, job_id: str | None = None, limit: int = 50, offset: int = 0) -> ActionPage:
        """List what operators did, newest first, to a job or to all; `limit` is at most 200. UnknownJobError."""
        path = "/scheduler/history" if job_id is None else f"/scheduler/jobs/{segment(job_id)}/history"
        query = {"limit": limit, "offset": offset}
        return (await self._session.request("GET", path, HistoryPage, asked=job_id, query=query)).actions()

    async def statistics(self, job_id: str) -> JobStatistics:
        """Tell how a job has done: what the server's plugin stats counts, or its store; UnknownJobError."""
        path = f"/scheduler/jobs/{segment(job_id)}/execution-stats"
        return await self._session.request("GET", path, JobStatistics, asked=job_id)

    async def today(self) -> Day:
        """Tell what has ended today, of all jobs; the server says which day that is."""
        return await self._session.request("GET", "/scheduler/stats/today", Day)

    # --- runs ---

    async def trigger(
        self,
        job_id: str,
        *,
        kwargs: Mapping[str, Any] | None = None,
        force: bool = False,
        resume: bool = True,
        idempotency_key: str | None = None,
    ) -> Triggered:
        """Run a job now, once, and return when the run is durably accepted; as `Kernel.trigger`.

        Every call has a key of its own, if none is given: a request that has to be repeated makes one run.
        """
        body = {"job_id": job_id, "kwargs": dict(kwargs or {}), "force": force, "resume": resume}
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        request = self._session.request
        record = await request("POST", "/scheduler/trigger", TriggeredRecord, asked=job_id, body=body, headers=headers)
        return record.triggered()

    async def cancel(self, execution_id: str, *, reason: str | None = None) -> Execution:
        """Ask a run to stop; UnknownExecutionError, ExecutionOverError."""
        path = f"/scheduler/executions/{segment(execution_id)}/cancel"
        query = {"reason": reason}
        return (await self._session.request("POST", path, Record, asked=execution_id, query=query)).execution()

    async def execution(self, execution_id: str) -> Execution:
        """Return one execution as it stands; UnknownExecutionError."""
        path = f"/scheduler/executions/{segment(execution_id)}"
        return (await self._session.request("GET", path, Record, asked=execution_id)).execution()

    async def history(self, execution_id: str) -> list[Event]:
        """Return the events of an execution, in order; UnknownExecutionError."""
        path = f"/scheduler/executions/{segment(execution_id)}/events"
        return [
            codec.decode(bytes(event))
            for event in await self._session.request("GET", path, list[msgspec.Raw], asked=execution_id)
        ]

    async def executions(
        self,
        *,
        job_id: str | None = None,
        status: tuple[Status, ...] = (),
        is_manual: bool | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        text: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> ExecutionPage:
        """List executions, newest first; the filters are those of `ExecutionQuery`, `limit` is at most 200."""
        query = {
            "job_id": job_id,
            "status": status,
            "is_manual": is_manual,
            "since": since,
            "until": until,
            "q": text,
            "limit": limit,
            "cursor": cursor,
        }
        page = await self._session.request("GET", "/scheduler/executions", RecordPage, query=query)
        return ExecutionPage([record.execution() for record in page.items], page.total, page.next)

    async def wait(self, execution_id: str) -> Execution:
        """Wait until a run is over, and return it; UnknownExecutionError."""
        async for _ in self.follow(execution_id):
            pass
        return await self.execution(execution_id)

    async def log(self, execution_id: str, after: int = 0, limit: int = LINES) -> list[LogLine]:
        """Return the lines that a run logged, up to `limit` (at most 1000) with numbers greater than `after`."""
        path = f"/scheduler/executions/{segment(execution_id)}/log"
        query = {"after": after, "limit": limit}
        return (await self._session.request("GET", path, LogPage, asked=execution_id, query=query)).items

    # --- what grows ---

    def follow(self, task_id: str, *, after: int | None = None) -> AsyncGenerator[RunFrame, None]:
        """Follow an execution to its end, or the runs of a job for ever: how it stands, then each change.

        `after` is the `seq` of a frame that was seen before. Over a lost connection it goes on where it was.
        """
        return following.run_frames(self._session, task_id, after)

    async def follow_log(self, execution_id: str, *, after: int = 0) -> AsyncIterator[LogLine]:
        """Follow the lines that a run logs, until it is over."""
        while True:
            is_over = (await self.execution(execution_id)).is_over  # before the lines: the last must not be passed over
            while lines := await self.log(execution_id, after):
                for line in lines:
                    yield line
                after = lines[-1].number
            if is_over:
                return
            await asyncio.sleep(LOOK)

    def events(
        self, *, after: int | None = None, job_id: str | None = None, types: tuple[str, ...] = ()
    ) -> AsyncGenerator[Event, None]:
        """Follow the log for ever, from a position or from now on: all of it, or a job's events, or some types.

        LogReplacedError where the log is another one afterwards, or what lies between was pruned.
        """
        return following.events(self._session, after, job_id, types)
