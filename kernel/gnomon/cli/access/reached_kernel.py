"""The interface through which commands use a kernel, whether it runs on this machine or elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, tzinfo
from typing import Any, NamedTuple, Protocol, Self

from gnomon.api import Triggered
from gnomon.cli.access.job_listing import JobListing
from gnomon.cli.access.shown_job import JobPause, Order, ShownJob
from gnomon.domain.body_sample import BodySample
from gnomon.domain.bulk_acts import ActOutcome, JobSelection, RunSelection
from gnomon.domain.estimates import Timing
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.hand_over import HandOver
from gnomon.domain.job_order import JobOrder
from gnomon.domain.job_preview import JobPreview
from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.progress import ProgressView
from gnomon.domain.records import ActionPage, ActionQuery, ExecutionQuery, LogLine, Page
from gnomon.domain.workers import WorkerView


class RunState(NamedTuple):
    """The progress and the timing of a run that is being followed."""

    view: ProgressView
    timing: Timing


class ReachedKernel(Protocol):
    """A kernel and its log. Use it as `async with kernel:`, so that its calls share one connection.

    Reading works without a running kernel on this machine; pause, resume, trigger and cancel need one. Every method
    may raise a GnomonError.
    """

    @property
    def zone(self) -> tzinfo | None:
        """The zone in which times are shown and read; None means the zone of this machine."""

    async def __aenter__(self) -> Self:
        """Prepare the connection."""

    async def __aexit__(self, *exc: object) -> None:
        """Close the log or the connection."""

    # --- acting; the log records the actor ---

    async def pause(self, job_id: str, *, reason: str | None) -> bool:
        """Hold back a job's fires; return False if the job was paused already."""

    async def resume(self, job_id: str, *, reason: str | None) -> bool:
        """Resume the fires of a job; return False if the job was not paused."""

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
        """Run a job now, once."""

    async def cancel(self, execution_id: str, *, reason: str | None) -> Execution:
        """Request that a run stops; return the run after the request."""

    async def skip(self, job_id: str, fire: datetime | None, *, undo: bool, reason: str | None) -> datetime:
        """Skip a fire of a job, by default the next one, or withdraw that; return the fire."""

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
        """Run a job for past fires of its schedule; return how many there are."""

    async def stop_backfill(self, job_id: str, *, reason: str | None) -> bool:
        """Start no more runs of a backfill; False where there is none."""

    async def set_held(self, *, held: bool, reason: str | None) -> bool:
        """Hold back the fires of all jobs, or release them; return False where nothing changes."""

    async def kernels(self) -> list[KernelMember]:
        """Return the processes on the log: the kernel that leads, then those that follow."""

    async def step_down(self, *, reason: str | None) -> HandOver:
        """Make the kernel that leads hand the log to another one."""

    async def set_all_paused(self, selection: JobSelection, *, paused: bool, reason: str | None) -> list[ActOutcome]:
        """Pause or resume many jobs."""

    async def cancel_runs(self, selection: RunSelection, *, reason: str | None) -> list[ActOutcome]:
        """Request that many runs stop."""

    async def order_job(self, order: JobOrder, *, reason: str | None, idempotency_key: str | None) -> Order:
        """Add, replace, change or remove a job; ConfigError has every problem of its keys."""

    async def order_jobs(self, jobs: list[dict[str, Any]], *, owner: str | None, reason: str | None) -> list[Order]:
        """Add many jobs, all or none; ConfigError has every problem with the number of its job."""

    # --- reading ---

    async def job(self, job_id: str) -> ShownJob:
        """Return one job with its definition, or raise UnknownJobError."""

    async def pause_of(self, job_id: str) -> JobPause | None:
        """Return who paused a job, None for one that is not paused or not known."""

    async def preview_job(self, keys: dict[str, Any]) -> JobPreview:
        """Return what the keys of a job would do."""

    async def jobs(self) -> list[JobListing]:
        """Return the jobs, sorted by id."""

    async def executions(self, query: ExecutionQuery, text: str | None = None) -> Page:
        """Return a page of runs without the hidden ones that match a query, and its text (gnomon.domain.list_query).

        ValueError for an invalid cursor, ListQueryError for an invalid text.
        """

    async def execution(self, execution_id: str) -> Execution:
        """Return one run, or raise UnknownExecutionError."""

    async def run_events(self, execution_id: str) -> list[Event]:
        """Return the events of a run, oldest first."""

    async def log_lines(self, execution_id: str, after: int, limit: int) -> list[LogLine]:
        """Return the log lines of a run whose numbers are greater than `after`."""

    async def sample(self, execution_id: str) -> BodySample:
        """Return where a running body is in its code; this needs a running kernel."""

    async def actions(self, query: ActionQuery) -> ActionPage:
        """Return a page of what operators did, newest first."""

    async def workers(self) -> WorkerView:
        """Return the workers elsewhere and their queues; this needs a running kernel."""

    # --- following ---

    def follow_run(self, execution_id: str) -> AsyncIterator[RunState]:
        """Yield the state of a run until it has ended."""

    def follow_events(self, job_id: str | None) -> AsyncIterator[Event]:
        """Yield the events from now on, of one job or of all."""
