"""A kernel at another address, over HTTP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import date, datetime
from typing import Any, Self

import msgspec

from gnomon.api import Triggered
from gnomon.cli.access.job_listing import JobListing, LastRun
from gnomon.cli.access.reached_kernel import RunState
from gnomon.cli.access.shown_job import JobPause, Order, ShownJob, problem_lines, shown_elsewhere
from gnomon.client import Client, ClientError, JobStatistics, JobSummary, LabelNames, LabelStatistics
from gnomon.client.alerts import Verb
from gnomon.domain.body_sample import BodySample
from gnomon.domain.bulk_acts import ActOutcome, JobSelection, RunSelection
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.hand_over import HandOver
from gnomon.domain.job_order import JobOrder
from gnomon.domain.job_preview import JobPreview
from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.records import ActionPage, ActionQuery, ExecutionQuery, LogLine, Page
from gnomon.domain.run_sorting import NEWEST_FIRST
from gnomon.domain.workers import WorkerView
from gnomon.errors import ConfigError, JobKeysError, JobOrdersError, UnknownJobError
from gnomon.scheduling.timezones import timezone_or_utc
from gnomon.wire.alerts import AlertPage, AlertSelection

TOKEN_VARIABLE = "GNOMON_TOKEN"  # noqa: S105 - the name of a variable

PAGE_SIZE = 200
"""Records that the server returns in one page, at most."""
CONCURRENT_REQUESTS = 8
"""Requests for statistics that are sent at a time."""


class RemoteKernel:
    """The kernel at an address. The token comes from $GNOMON_TOKEN, since command lines are visible to all users."""

    zone = None

    def __init__(self, url: str) -> None:
        self._client = Client(url, token=os.environ.get(TOKEN_VARIABLE) or None)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.__aexit__(None, None, None)

    # --- acting; the server records the name of the token ---

    async def pause(self, job_id: str, *, reason: str | None) -> bool:
        before = await self._client.job(job_id)
        await self._client.pause(job_id, reason=reason)
        return not before.paused

    async def resume(self, job_id: str, *, reason: str | None) -> bool:
        before = await self._client.job(job_id)
        await self._client.resume(job_id, reason=reason)
        return before.paused

    async def trigger(
        self,
        job_id: str,
        *,
        kwargs: dict[str, Any],
        labels: dict[str, str],
        force: bool,
        resume: bool,
        idempotency_key: str | None,
    ) -> Triggered:
        return await self._client.trigger(
            job_id, kwargs=kwargs, labels=labels, force=force, resume=resume, idempotency_key=idempotency_key
        )

    async def cancel(self, execution_id: str, *, reason: str | None) -> Execution:
        return await self._client.cancel(execution_id, reason=reason)

    async def skip(self, job_id: str, fire: datetime | None, *, undo: bool, reason: str | None) -> datetime:
        return await self._client.skip(job_id, fire, undo=undo, reason=reason)

    async def backfill(
        self,
        job_id: str,
        since: datetime,
        until: datetime,
        *,
        overlap: bool,
        rate: str | None,
        rerun: bool,
        reason: str | None,
    ) -> int:
        how: dict[str, Any] = {"overlap": overlap, "rate": rate, "rerun": rerun, "reason": reason}
        return await self._client.backfill(job_id, since, until, **how)

    async def stop_backfill(self, job_id: str, *, reason: str | None) -> bool:
        return await self._client.stop_backfill(job_id, reason=reason)

    async def set_held(self, *, held: bool, reason: str | None) -> bool:
        return await (self._client.hold if held else self._client.release)(reason=reason)

    async def kernels(self) -> list[KernelMember]:
        return await self._client.kernels()

    async def step_down(self, *, reason: str | None) -> HandOver:
        return await self._client.step_down(reason=reason)

    async def set_all_paused(self, selection: JobSelection, *, paused: bool, reason: str | None) -> list[ActOutcome]:
        act = self._client.pause_jobs if paused else self._client.resume_jobs
        return await act(selection, reason=reason)

    async def cancel_runs(self, selection: RunSelection, *, reason: str | None) -> list[ActOutcome]:
        return await self._client.cancel_runs(selection, reason=reason)

    async def order_job(self, order: JobOrder, *, reason: str | None, idempotency_key: str | None) -> Order:
        how: dict[str, Any] = {"reason": reason, "idempotency_key": idempotency_key}
        seen = how | {"expect_version": order.expect_version}
        try:
            match order.how:
                case "add":
                    done = await self._client.add_job({"id": order.job_id, **order.keys}, owner=order.owner, **how)
                case "replace":
                    done = await self._client.replace_job(order.job_id, order.keys, owner=order.owner, **seen)
                case "change":
                    done = await self._client.change_job(order.job_id, order.keys, **seen)
                case "remove":
                    return Order((await self._client.remove_job(order.job_id, **seen)).version, is_new=False)
        except JobKeysError as exc:
            raise ConfigError(problem_lines(exc)) from exc
        return Order(done.version, is_new=order.how == "add")

    async def order_jobs(self, jobs: list[dict[str, Any]], *, owner: str | None, reason: str | None) -> list[Order]:
        try:
            added = await self._client.add_jobs(jobs, owner=owner, reason=reason)
        except JobOrdersError as exc:
            raise ConfigError(exc.lines("jobs")) from exc
        return [Order(one.version, is_new=True) for one in added]

    # --- reading ---

    async def job(self, job_id: str) -> ShownJob:
        return shown_elsewhere(await self._client.job(job_id))

    async def pause_of(self, job_id: str) -> JobPause | None:
        try:
            job = await self._client.job(job_id)
        except UnknownJobError:  # the command itself says so
            return None
        return JobPause(job.paused_by, job.paused_reason) if job.paused else None

    async def preview_job(self, keys: dict[str, Any]) -> JobPreview:
        return await self._client.preview_job(keys)

    async def jobs(self) -> list[JobListing]:
        return [_job_listing(job) for job in sorted(await self._client.jobs(), key=lambda job: job.id)]

    async def executions(self, query: ExecutionQuery, text: str | None = None) -> Page:
        items: list[Execution] = []
        cursor = query.cursor
        while True:
            page = await self._client.executions(
                job_id=query.job_id,
                status=query.status,
                is_manual=query.is_manual,
                labels=query.labels,
                since=query.since,
                until=query.until,
                text=query.text,
                query=text,
                sort=str(query.sort) if query.sort != NEWEST_FIRST else None,
                limit=min(query.limit - len(items), PAGE_SIZE),
                cursor=cursor,
            )
            items += page.items
            cursor = page.next
            if cursor is None or len(items) >= query.limit:
                return Page(items, page.total, cursor)

    async def execution(self, execution_id: str) -> Execution:
        return await self._client.execution(execution_id)

    async def run_events(self, execution_id: str) -> list[Event]:
        return await self._client.history(execution_id)

    async def log_lines(self, execution_id: str, after: int, limit: int) -> list[LogLine]:
        return await self._client.log(execution_id, after, limit)

    async def sample(self, execution_id: str) -> BodySample:
        return await self._client.sample(execution_id)

    async def actions(self, query: ActionQuery) -> ActionPage:
        found = ActionPage([], 0)
        while True:
            limit = min(query.limit - len(found.items), PAGE_SIZE)
            offset = query.offset + len(found.items)
            filters = msgspec.structs.asdict(query) | {"limit": limit, "offset": offset}
            del filters["scope"]  # that of the token decides
            page = await self._client.actions(**filters)
            found = ActionPage(found.items + page.items, page.total)
            if len(page.items) < limit or len(found.items) >= query.limit:
                return found

    async def workers(self) -> WorkerView:
        return await self._client.workers()

    async def alerts(self, **filters: Any) -> AlertPage:
        """Return a page of alerts, as `Client.alerts` does."""
        return await self._client.alerts(**filters)

    async def act_on_alerts(self, verb: Verb, alerts: AlertSelection, **how: Any) -> list[ActOutcome]:
        """Act on all open alerts that match, as `Client.act_on_alerts` does."""
        return await self._client.act_on_alerts(verb, alerts, **how)

    async def statistics(self, job_id: str | None = None) -> list[JobStatistics]:
        """Return the statistics of one job, or of all jobs sorted by id, as the server counts them."""
        semaphore = asyncio.Semaphore(CONCURRENT_REQUESTS)

        async def of(job_id: str) -> JobStatistics:
            async with semaphore:
                return await self._client.statistics(job_id)

        job_ids = [job_id] if job_id is not None else sorted(job.id for job in await self._client.jobs())
        return list(await asyncio.gather(*map(of, job_ids)))

    async def label_statistics(self, label: str, value: str | None) -> tuple[LabelStatistics, LabelNames]:
        """Return the statistics of a label, and the labels that runs have; ClientError without the plugin stats."""
        try:
            return await self._client.label_statistics(label, value=value, limit=1000), await self._client.labels()
        except ClientError as exc:
            if exc.status != 404:
                raise
            problem = "this kernel does not count by label"
            advice = "enable the plugin stats there, with a section [plugins.stats] in its config"
            raise ClientError(f"{problem}: {advice}", exc.status) from exc

    async def today(self) -> date:
        """Return the current day in the zone of the server's statistics."""
        return (await self._client.today()).day

    # --- following ---

    async def follow_run(self, execution_id: str) -> AsyncIterator[RunState]:
        async with aclosing(self._client.follow(execution_id)) as frames:
            async for frame in frames:
                yield RunState(frame.view, frame.timing)

    async def follow_events(self, job_id: str | None) -> AsyncIterator[Event]:
        async with aclosing(self._client.events(job_id=job_id)) as events:
            async for event in events:
                yield event


def _job_listing(job: JobSummary) -> JobListing:
    """Convert the server's summary of a job; a running kernel handles its fires, so none is overdue."""
    timezone = job.trigger_config.get("timezone")
    last = job.last_execution
    return JobListing(
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
        next_fire=job.next_run_time.astimezone(timezone_or_utc(timezone)) if job.next_run_time else None,
        overdue=None,
        last_run=msgspec.convert(last, LastRun, from_attributes=True) if last else None,
        running=job.running,
        origin=job.origin,
        owner=job.owner,
        problem=job.problem,
    )
