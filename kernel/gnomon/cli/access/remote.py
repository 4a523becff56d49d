"""A kernel elsewhere, asked over HTTP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import date
from typing import Any, Self

import msgspec

from gnomon.cli.access.resolve import Standing
from gnomon.cli.output.job_lines import JobLine, LastRun
from gnomon.cli.output.states import zone_of
from gnomon.client import Client, JobStatistics, JobSummary
from gnomon.control_socket import Cancel, Command, Pause, Resume, Trigger
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.records import ActionPage, ActionQuery, ExecutionQuery, LogLine, Page
from gnomon.errors import GnomonError

TOKEN = "GNOMON_TOKEN"  # noqa: S105 - the variable's name

PAGE = 200
"""Records that a server lists at once, at most."""
AT_ONCE = 8
"""Jobs whose statistics are asked for at a time."""


class RemoteKernel:
    """The kernel at an address; $GNOMON_TOKEN says who asks: what is on a command line, everybody can see."""

    zone = None

    def __init__(self, url: str) -> None:
        self._client = Client(url, token=os.environ.get(TOKEN) or None)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.__aexit__(None, None, None)

    async def ask(self, command: Command) -> Any:
        match command:
            case Pause():
                return not await self._was_paused(command, self._client.pause)
            case Resume():
                return await self._was_paused(command, self._client.resume)
            case Trigger():
                triggered = await self._client.trigger(
                    command.job_id,
                    kwargs=command.kwargs,
                    force=command.force,
                    resume=command.resume,
                    idempotency_key=command.idempotency_key,
                )
                return msgspec.to_builtins(triggered)
            case Cancel():
                return msgspec.to_builtins(await self._client.cancel(command.execution_id, reason=command.reason))
            case _:
                raise GnomonError("this can be asked of a kernel on this machine only")

    async def _was_paused(self, command: Pause | Resume, change: Callable[..., Awaitable[Any]]) -> bool:
        """Pause or resume a job, and tell how it was just before."""
        before = await self._client.job(command.job_id)
        await change(command.job_id, reason=command.reason)
        return before.paused

    # --- looking ---

    async def jobs(self) -> list[JobLine]:
        return [_line(job) for job in sorted(await self._client.jobs(), key=lambda job: job.id)]

    async def executions(self, query: ExecutionQuery) -> Page:
        items: list[Execution] = []
        cursor = query.cursor
        while True:
            page = await self._client.executions(
                job_id=query.job_id,
                status=query.status,
                is_manual=query.is_manual,
                since=query.since,
                until=query.until,
                text=query.text,
                limit=min(query.limit - len(items), PAGE),
                cursor=cursor,
            )
            items += page.items
            cursor = page.next
            if cursor is None or len(items) >= query.limit:
                return Page(items, page.total, cursor)

    async def execution(self, execution_id: str) -> Execution:
        return await self._client.execution(execution_id)

    async def history(self, execution_id: str) -> list[Event]:
        return await self._client.history(execution_id)

    async def lines(self, execution_id: str, after: int, limit: int) -> list[LogLine]:
        return await self._client.log(execution_id, after, limit)

    async def actions(self, query: ActionQuery) -> ActionPage:
        found = ActionPage([], 0)
        while True:
            limit = min(query.limit - len(found.items), PAGE)
            offset = query.offset + len(found.items)
            page = await self._client.actions(job_id=query.job_id, limit=limit, offset=offset)
            found = ActionPage(found.items + page.items, page.total)
            if len(page.items) < limit or len(found.items) >= query.limit:
                return found

    async def statistics(self, job_id: str | None = None) -> list[JobStatistics]:
        """Tell how a job has done, or each that there is, by id; a plugin of the server counts, or its store alone."""
        few = asyncio.Semaphore(AT_ONCE)

        async def of(job_id: str) -> JobStatistics:
            async with few:
                return await self._client.statistics(job_id)

        job_ids = [job_id] if job_id is not None else sorted(job.id for job in await self._client.jobs())
        return list(await asyncio.gather(*map(of, job_ids)))

    async def today(self) -> date:
        """Return the day that it is in the server's statistics."""
        return (await self._client.today()).day

    # --- following ---

    async def follow(self, execution_id: str) -> AsyncIterator[Standing]:
        async with aclosing(self._client.follow(execution_id)) as frames:
            async for frame in frames:
                yield Standing(frame.view, frame.timing)

    async def events(self, job_id: str | None) -> AsyncIterator[Event]:
        async with aclosing(self._client.events(job_id=job_id)) as events:
            async for event in events:
                yield event


def _line(job: JobSummary) -> JobLine:
    """Tell of a job as the list of jobs does; a kernel that runs comes to its fires, so none is overdue."""
    timezone = job.trigger_config.get("timezone")
    last = job.last_execution
    return JobLine(
        id=job.id,
        name=job.name,
        display_name=job.display_name or job.name,
        note=job.description,
        tags=job.tags,
        schedule=job.trigger,
        timezone=timezone,
        state=job.status,
        paused_by=job.paused_by,
        paused_reason=job.paused_reason,
        next_fire=job.next_run_time.astimezone(zone_of(timezone)) if job.next_run_time else None,
        overdue=None,
        last_run=msgspec.convert(last, LastRun, from_attributes=True) if last else None,
        running=job.running,
    )
