"""The client: the kernel's calls, sent over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import msgspec

from gnomon.api import Triggered
from gnomon.client import following, ordering
from gnomon.client.alerts import AlertCalls
from gnomon.client.explanations import ExplanationCalls
from gnomon.client.job_definitions import DefinitionCalls
from gnomon.client.patience import seconds_of
from gnomon.client.session import Session, segment
from gnomon.client.statistics import StatisticsCalls
from gnomon.client.wall_links import WallLinkCalls
from gnomon.domain import codec
from gnomon.domain.body_sample import BodySample
from gnomon.domain.bulk_acts import ActOutcome, JobSelection, RunSelection
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution, Status
from gnomon.domain.hand_over import HandOver
from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.parameter_checks import checked_methods
from gnomon.domain.records import ActionPage, ActionStatus, LogLine, Page
from gnomon.domain.run_order import RunOrder, WhenFull
from gnomon.domain.workers import WorkerView
from gnomon.wire.operator_answers import BackfillAnswer, BackfillStop, HoldAnswer, Retried, SkippedFire
from gnomon.wire.past import PastReport
from gnomon.wire.records import HistoryPage, JobDetail, JobSummary, LogPage, Record, RecordPage
from gnomon.wire.run_frame import RunFrame

LINES = 1000
LOG_POLL_S = 0.5
"""Seconds between two reads of a run's log: a kernel writes the lines four times a second."""


@checked_methods
class Client(AlertCalls, DefinitionCalls, ExplanationCalls, StatisticsCalls, WallLinkCalls):
    """A kernel at `url` (base path included), accessed with `token`. Use it as `async with Client(...) as client:`.

    While the server is away, requests are repeated for up to `patience`, a timedelta or seconds; repeating one never
    has a second effect. The server's name for the token is the actor of every action. Calls raise the kernel's own
    errors (UnknownJobError, ExecutionOverError, ...) and ClientError with its subclasses NoServerError and
    NotAllowedError.
    """

    def __init__(self, url: str, *, token: str | None = None, patience: timedelta | float = 60.0) -> None:
        self._session = Session(url, token, seconds_of(patience))

    async def __aenter__(self) -> Self:
        """Open the session; nothing is sent yet."""
        await self._session.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self._session.__aexit__(exc_type, exc, traceback)

    # --- jobs ---

    async def past(self, at: datetime) -> PastReport:
        """Describe what ran, waited and was held at a moment, and what the log still keeps of that time; PastError.

        Other questions have a parameter `at`: their answers are those of then.
        """
        query = {"at": at}
        return await self._session.request("GET", "/scheduler/past", PastReport, subject=at.isoformat(), query=query)

    async def jobs(self, *, at: datetime | None = None) -> list[JobSummary]:
        """List the jobs."""
        return await self._session.request("GET", "/scheduler/jobs", list[JobSummary], query={"at": at})

    async def job(self, job_id: str, *, at: datetime | None = None) -> JobDetail:
        """Return a job with its definition; UnknownJobError."""
        path = f"/scheduler/jobs/{segment(job_id)}"
        return await self._session.request("GET", path, JobDetail, subject=job_id, query={"at": at})

    async def pause(self, job_id: str, *, reason: str | None = None) -> JobSummary:
        """Pause a job: it does not fire until it is resumed."""
        path = f"/scheduler/jobs/{segment(job_id)}/pause"
        return await self._session.request("POST", path, JobSummary, subject=job_id, query={"reason": reason})

    async def resume(self, job_id: str, *, reason: str | None = None) -> JobSummary:
        """Resume a paused job."""
        path = f"/scheduler/jobs/{segment(job_id)}/resume"
        return await self._session.request("POST", path, JobSummary, subject=job_id, query={"reason": reason})

    async def skip(
        self, job_id: str, fire: datetime | None = None, *, undo: bool = False, reason: str | None = None
    ) -> datetime:
        """Skip a fire to come, by default the next one, or withdraw that with `undo`; return the fire.

        UnknownJobError; JobError where there is no such fire.
        """
        path = f"/scheduler/jobs/{segment(job_id)}/skip"
        body, query = {"fire": fire, "undo": undo}, {"reason": reason}
        return (
            await self._session.request("POST", path, SkippedFire, subject=job_id, body=body, query=query)
        ).scheduled_time

    async def backfill(
        self,
        job_id: str,
        since: datetime,
        until: datetime,
        *,
        overlap: bool = False,
        rate: str | None = None,
        rerun: bool = False,
        reason: str | None = None,
    ) -> int:
        """Run a job for the past fires of its schedule, like `Kernel.backfill`; return how many there are."""
        path = f"/scheduler/jobs/{segment(job_id)}/backfill"
        body = {"from": since, "to": until, "overlap": overlap, "rate": rate, "rerun": rerun}
        query = {"reason": reason}
        return (await self._session.request("POST", path, BackfillAnswer, subject=job_id, body=body, query=query)).fires

    async def count_backfill(self, job_id: str, since: datetime, until: datetime) -> int:
        """Return how many past fires a backfill of this time would look at, without beginning one."""
        path, query = f"/scheduler/jobs/{segment(job_id)}/backfill", {"from": since, "to": until}
        return (await self._session.request("GET", path, BackfillAnswer, subject=job_id, query=query)).fires

    async def stop_backfill(self, job_id: str, *, reason: str | None = None) -> bool:
        """Start no more runs of a job's backfill. False where there is none."""
        path = f"/scheduler/jobs/{segment(job_id)}/backfill/stop"
        answer = await self._session.request("POST", path, BackfillStop, subject=job_id, query={"reason": reason})
        return answer.stopped

    async def pause_jobs(self, selection: JobSelection, *, reason: str | None = None) -> list[ActOutcome]:
        """Pause all jobs of a selection, at most 1,000; return what came of each."""
        return await self._act_on_many("/scheduler/jobs/pause", selection, reason)

    async def resume_jobs(self, selection: JobSelection, *, reason: str | None = None) -> list[ActOutcome]:
        """Resume all jobs of a selection, at most 1,000; return what came of each."""
        return await self._act_on_many("/scheduler/jobs/resume", selection, reason)

    async def cancel_runs(self, selection: RunSelection, *, reason: str | None = None) -> list[ActOutcome]:
        """Request that all runs of a selection stop, at most 1,000, or 10,000 by a query; return what came of each."""
        return await self._act_on_many("/scheduler/executions/cancel", selection, reason)

    async def retry_runs(
        self, *, ids: Sequence[str] | None = None, query: str | None = None, idempotency_key: str | None = None
    ) -> Retried:
        """Run executions that have ended again, with their arguments: those with these ids, or all that match a query.

        At most 1,000 by ids, 10,000 by a query. Without an `idempotency_key`, each is run again once.
        """
        body = {name: value for name, value in (("ids", ids), ("query", query)) if value is not None}
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key is not None else None
        return await self._session.request("POST", "/scheduler/executions/retry", Retried, body=body, headers=headers)

    async def _act_on_many(
        self, path: str, selection: JobSelection | RunSelection, reason: str | None
    ) -> list[ActOutcome]:
        body = {key: value for key, value in msgspec.structs.asdict(selection).items() if value is not None}
        return await self._session.request("POST", path, list[ActOutcome], body=body, query={"reason": reason})

    async def hold(self, *, reason: str | None = None) -> bool:
        """Hold back the fires of all jobs, across restarts. False where they are held already."""
        return (await self._session.request("POST", "/scheduler/hold", HoldAnswer, query={"reason": reason})).changed

    async def release(self, *, reason: str | None = None) -> bool:
        """Release the fires of all jobs. False where they are not held."""
        answer = await self._session.request("POST", "/scheduler/release", HoldAnswer, query={"reason": reason})
        return answer.changed

    async def step_down(self, *, reason: str | None = None) -> HandOver:
        """Make the kernel that leads hand the log to another one; the answer comes when that has begun."""
        return await self._session.request("POST", "/scheduler/step-down", HandOver, query={"reason": reason})

    async def kernels(self) -> list[KernelMember]:
        """List the processes on the log: the kernel that leads, then those that follow."""
        return await self._session.request("GET", "/scheduler/kernels", list[KernelMember])

    async def workers(self) -> WorkerView:
        """Return the workers elsewhere that run bodies, and their queues."""
        return await self._session.request("GET", "/scheduler/workers", WorkerView)

    async def actions(
        self,
        *,
        job_id: str | None = None,
        status: ActionStatus | None = None,
        action: str | None = None,
        actor: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> ActionPage:
        """List operator actions on one job or on all, newest first; the filters are those of `ActionQuery`.

        `limit` is at most 200. UnknownJobError.
        """
        path = "/scheduler/history" if job_id is None else f"/scheduler/jobs/{segment(job_id)}/history"
        filters = {"status": status, "action": action, "actor": actor, "since": since, "until": until}
        query = {"limit": limit, "offset": offset, **filters}
        page = await self._session.request("GET", path, HistoryPage, subject=job_id, query=query)
        return ActionPage([entry.to_action() for entry in page.history], page.total)

    # --- runs ---

    async def trigger(
        self,
        job_id: str,
        *,
        kwargs: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
        force: bool = False,
        resume: bool = True,
        idempotency_key: str | None = None,
        when_full: WhenFull = "raise",
    ) -> Triggered:
        """Run a job now, once, and return when the run is durably accepted, like `Kernel.trigger`.

        Without an `idempotency_key` each call gets its own, so that repeating a request makes only one run. With
        `when_full="wait"` the request is repeated until the queue has room, so callers may overtake each other.
        """
        order = RunOrder(job_id, kwargs or {}, force, resume, idempotency_key, labels or {})
        return await ordering.send_order(self._session, order, when_full)

    async def trigger_many(self, orders: Sequence[RunOrder], *, when_full: WhenFull = "raise") -> list[Triggered]:
        """Run jobs now, once for each order (1,000 at most), all accepted in one commit or none of them.

        Orders without an `idempotency_key` get one each. With `when_full="wait"` the list is sent in parts, again and
        again, until the queues have had room for all of them.
        """
        return await ordering.send_orders(self._session, orders, when_full)

    async def cancel(self, execution_id: str, *, reason: str | None = None) -> Execution:
        """Request the cancellation of a run; UnknownExecutionError, ExecutionOverError."""
        path = f"/scheduler/executions/{segment(execution_id)}/cancel"
        query = {"reason": reason}
        return (await self._session.request("POST", path, Record, subject=execution_id, query=query)).execution()

    async def sample(self, execution_id: str) -> BodySample:
        """Return where a live body is, like `Kernel.sample`; UnknownExecutionError, ExecutionOverError."""
        path = f"/scheduler/executions/{segment(execution_id)}/sample"
        return await self._session.request("POST", path, BodySample, subject=execution_id)

    async def execution(self, execution_id: str, *, at: datetime | None = None) -> Execution:
        """Return the state of an execution, now or at a moment; UnknownExecutionError."""
        path = f"/scheduler/executions/{segment(execution_id)}"
        return (await self._session.request("GET", path, Record, subject=execution_id, query={"at": at})).execution()

    async def history(self, execution_id: str) -> list[Event]:
        """Return the events of an execution, in order; UnknownExecutionError."""
        path = f"/scheduler/executions/{segment(execution_id)}/events"
        return [
            codec.decode(bytes(event))
            for event in await self._session.request("GET", path, list[msgspec.Raw], subject=execution_id)
        ]

    async def executions(  # noqa: PLR0913 - one parameter for each filter
        self,
        *,
        job_id: str | None = None,
        status: tuple[Status, ...] = (),
        is_manual: bool | None = None,
        labels: tuple[str, ...] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        at: datetime | None = None,
        text: str | None = None,
        query: str | None = None,
        sort: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """List executions, newest first; the filters are those of `ExecutionQuery`, `limit` is at most 200.

        `query` is a text such as `tag:etl late>1m since:-7d`, `sort` a column such as `-late`.
        """
        parameters = {
            "job_id": job_id,
            "status": status,
            "is_manual": is_manual,
            "label": labels,
            "since": since,
            "until": until,
            "at": at,
            "q": text,
            "query": query,
            "sort": sort,
            "limit": limit,
            "cursor": cursor,
        }
        page = await self._session.request("GET", "/scheduler/executions", RecordPage, query=parameters)
        return Page([record.execution() for record in page.items], page.total, page.next)

    async def wait(self, execution_id: str) -> Execution:
        """Wait for the end of a run and return it; UnknownExecutionError.

        Where its body snoozes, this waits for the run that takes its place, and returns that one.
        """
        while True:
            if not (execution := await self.execution(execution_id)).is_over:  # which also refuses the id of a job
                async for _ in self.follow(execution_id):
                    pass
                execution = await self.execution(execution_id)
            if execution.snoozed_to is None:
                return execution
            execution_id = execution.snoozed_to

    async def wait_many(self, execution_ids: Iterable[str]) -> list[Execution]:
        """Wait for the ends of these runs and return them in the order of their ids; UnknownExecutionError."""
        return await ordering.ends_of(self, execution_ids)

    async def log(self, execution_id: str, after: int = 0, limit: int = LINES) -> list[LogLine]:
        """Return up to `limit` (at most 1000) lines that a run logged, with numbers greater than `after`."""
        path = f"/scheduler/executions/{segment(execution_id)}/log"
        query = {"after": after, "limit": limit}
        return (await self._session.request("GET", path, LogPage, subject=execution_id, query=query)).items

    # --- followed over time ---

    def follow(self, task_id: str, *, after: int | None = None) -> AsyncGenerator[RunFrame, None]:
        """Follow an execution to its end, or the runs of a job without end: the present state, then each change.

        `after` is the `seq` of the last frame seen before. Following resumes after a lost connection. A follower of a
        job that missed too much gets a `reset`, then the end of every run that ended in between, then snapshots.
        """
        return following.run_frames(self._session, self, task_id, after)

    async def follow_log(self, execution_id: str, *, after: int = 0) -> AsyncIterator[LogLine]:
        """Yield the lines that a run logs, until it is over."""
        while True:
            is_over = (await self.execution(execution_id)).is_over  # read before the lines, so that the last ones count
            while lines := await self.log(execution_id, after):
                for line in lines:
                    yield line
                after = lines[-1].number
            if is_over:
                return
            await asyncio.sleep(LOG_POLL_S)

    def events(
        self, *, after: int | None = None, job_id: str | None = None, types: tuple[str, ...] = ()
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of the log without end, after a position or from now on; `job_id` and `types` filter them.

        LogReplacedError if another log takes its place, or if events that were not read yet are pruned.
        """
        return following.events(self._session, after, job_id, types)
