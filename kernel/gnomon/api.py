"""The kernel as plugins, the command line and embedding code see it: `KernelApi` and the records that it returns.

Its questions about the log itself are in `gnomon.log_api`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from gnomon.domain.body_sample import BodySample
from gnomon.domain.bulk_acts import ActOutcome, JobSelection, RunSelection
from gnomon.domain.estimates import Timing
from gnomon.domain.events import FailedReason
from gnomon.domain.execution import Execution
from gnomon.domain.hand_over import HandOver
from gnomon.domain.job_order import JobOrder
from gnomon.domain.job_preview import JobPreview
from gnomon.domain.kernel_health import Health
from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.records import ExecutionQuery, Page
from gnomon.domain.run_order import RunOrder, WhenFull
from gnomon.domain.workers import WorkerView
from gnomon.job_views import JobOrdered as JobOrdered
from gnomon.job_views import JobView as JobView
from gnomon.job_views import LiveRun as LiveRun
from gnomon.job_views import Triggered as Triggered
from gnomon.jobs.diff import JobsDiff
from gnomon.jobs.job import Job
from gnomon.jobs.registered import RegisteredJob
from gnomon.log_api import LogApi
from gnomon.ports import Clock, LoadedPlugin


class KernelApi(LogApi, Protocol):
    """The queries and commands of a running kernel, and their results.

    Coroutine methods may be awaited from any event loop in any thread; GnomonError where the kernel is not running.
    The same error comes from every method when the store cannot answer: StoreUnavailableError where a later call may
    succeed, DeposedError where another kernel owns the log. Methods that change something return when the change is
    durable. Their `actor` names who asked for it and is kept in the log, as is `reason`. Records are copies.
    """

    clock: Clock
    """The kernel's clock. Tests move it, so plugins read the time from here and wait with `sleep`."""
    node: str
    """The name of this kernel's machine or process, as it stands in every event."""
    log_id: str
    """The id of the log: 24 hex characters that no other log has. A position means something only with this id."""
    directory: Path | None
    """The folder of the log's files, where plugins may keep private files; None for a log that is only in memory."""
    plugins: Iterable[LoadedPlugin]
    """The plugins of this kernel, in the order in which they were added."""

    # --- jobs ---

    async def jobs(self) -> list[JobView]:
        """Return all jobs, sorted by id."""

    async def job(self, job_id: str) -> JobView:
        """Return one job; UnknownJobError."""

    async def preview_job(self, keys: Mapping[str, Any], *, trusted: bool = False) -> JobPreview:
        """Return what the keys of a job, as the config has them, would do: their problems, or the fires that change.

        The function is imported: `trusted` keys may name any, others `allow_functions` and the ids of declared jobs.
        """

    async def parameters(self, job_id: str) -> dict[str, Any]:
        """Return the named arguments that a run of a job may have, as JSON Schema; UnknownJobError.

        `default` is the value that a run has without one in its trigger. What no command may set is `readOnly`; a
        secret has `x-secret`, the place where it is kept, and no default.
        """

    async def order_job(
        self,
        order: JobOrder,
        *,
        trusted: bool = False,
        idempotency_key: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> JobOrdered:
        """Add, replace, change or remove a job by its keys, as a frontend receives them.

        Keys of plugins and ids of declared jobs in `func` count as in the config. A change is a JSON merge patch (RFC
        7396); a replaced job need not exist. Who is not `trusted` may name only `allow_functions`. A repeated
        `idempotency_key` of the same actor has no second effect. JobKeysError has every problem; JobExistsError,
        UnknownJobError, ForeignJobError, JobConflictError, FunctionNotAllowedError, IdempotencyKeyError.
        """

    async def order_jobs(
        self,
        jobs: Sequence[Mapping[str, Any]],
        *,
        owner: str | None = None,
        trusted: bool = False,
        idempotency_key: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> list[JobOrdered]:
        """Add up to 1,000 jobs by their keys, as `order_job` adds one, in one commit or not at all: JobOrdersError."""

    async def add_job(
        self,
        job: Job | RegisteredJob | Callable[..., Any] | str,
        /,
        *,
        replace: bool = False,
        expect_version: int | None = None,
        temporary: bool = False,
        owner: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
        **keys: Any,
    ) -> Job:
        """Add a job to the log, and return the checked Job: `await kernel.add_job(sync, cron="0 18 * * *")`.

        `job` is a Job, a function, or its name "package.module:function". `keys` are those of a job by name, such as
        `id`, `cron` and `kwargs`; they replace those of a Job and of @job. The id of a function defaults to
        "module.name", its description to its docstring.

        The job is there again after a restart, with its schedule, its pause and what `catch_up` says about the
        downtime. Its function is text, "module:function" or the id of a job that is defined at the start, or a function
        at the top level of a module. Others need `temporary`: such a job is removed when its kernel ends. A job whose
        schedule has ended is removed once each of its fires has an outcome, unless it has `keep`. With `replace` a job
        that was added before gets this definition and keeps its owner, another `owner` is refused; `expect_version`
        replaces only that version. JobExistsError, ForeignJobError, JobConflictError; JobError and TriggerError.
        """

    async def add_jobs(
        self,
        jobs: Iterable[Job | RegisteredJob | Callable[..., Any] | str],
        /,
        *,
        replace: bool = False,
        temporary: bool = False,
        owner: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> list[Job]:
        """Add many jobs in one commit, as `add_job` does; nothing is added where one of them is not valid."""

    async def change_job(
        self,
        job_id: str,
        /,
        *,
        expect_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
        **changes: Any,
    ) -> Job:
        """Change keys of a job that was added at run time, None removes one, and return the checked Job.

        The result is checked as a whole, and the log keeps the difference. Fires restart only where the schedule
        changes. `expect_version` is the `JobView.state.version` that the caller has read: JobConflictError where the
        job has another one. UnknownJobError, ForeignJobError, JobError, TriggerError.
        """

    async def remove_job(
        self, job_id: str, *, expect_version: int | None = None, actor: str | None = None, reason: str | None = None
    ) -> None:
        """Remove a job that was added at run time. Its executions stay in the log, its running bodies go on.

        UnknownJobError, ForeignJobError, JobConflictError.
        """

    async def apply_jobs(
        self,
        jobs: Iterable[Job | RegisteredJob | Callable[..., Any] | str],
        *,
        owner: str | None = None,
        revision: int | str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> JobsDiff:
        """Replace a whole set of jobs in one step, and return what changed. No fire is lost or runs twice.

        With `owner` that is the set that was added at run time for this owner, such as the schedules of one tenant.
        Without it, the set is what the start defined: all jobs of the config, the program and plugins. Other jobs stay.
        `revision` is its revision. Nothing changes where a job is not valid (JobError, TriggerError, JobExistsError).
        """

    async def pause(self, job_id: str, *, actor: str | None = None, reason: str | None = None) -> bool:
        """Hold back a job's fires until it is resumed, across restarts. False where it is paused. UnknownJobError."""

    async def resume(self, job_id: str, *, actor: str | None = None, reason: str | None = None) -> bool:
        """Resume a paused job; its `catch_up` decides about held fires. False where it runs. UnknownJobError."""

    async def describe(
        self, job_id: str, *, display_name: str | None = None, note: str | None = None, actor: str | None = None
    ) -> bool:
        """Record an operator's name (at most 50 characters) and note (at most 200) for a job, across restarts.

        None keeps the current text, an empty text removes it. Neither is part of the definition, so no reload changes
        them. False where nothing changes. UnknownJobError; JobError for a text that is too long.
        """

    async def skip(
        self,
        job_id: str,
        fire: datetime | None = None,
        *,
        undo: bool = False,
        actor: str | None = None,
        reason: str | None = None,
    ) -> datetime:
        """Decide that a fire to come will not run, by default the next one, and return it.

        A time without an offset is in the job's zone. `undo` withdraws it. UnknownJobError; JobError for no such fire.
        """

    async def backfill(
        self,
        job_id: str,
        since: datetime,
        until: datetime,
        *,
        overlap: bool = False,
        rate: str | None = None,
        rerun: bool = False,
        actor: str | None = None,
        reason: str | None = None,
    ) -> int:
        """Run a job for the past fires of its schedule from `since` to `until`; return how many there are.

        Each has one run, with its time as `scheduled_time` and the cause `backfill`, unless it has a success; with
        `rerun` also then. They run one after the other, oldest first, or with `overlap` as many at once as the job
        allows, and at most `rate` start in a time, such as "10/m". A restart goes on. UnknownJobError; JobError.
        """

    async def stop_backfill(self, job_id: str, *, actor: str | None = None, reason: str | None = None) -> bool:
        """Start no more runs of a job's backfill; those that were accepted go on. False where there is none."""

    async def pause_jobs(
        self, selection: JobSelection, *, actor: str | None = None, reason: str | None = None
    ) -> list[ActOutcome]:
        """Pause all jobs of a selection, at most 1,000, in one commit; return what came of each. JobError."""

    async def resume_jobs(
        self, selection: JobSelection, *, actor: str | None = None, reason: str | None = None
    ) -> list[ActOutcome]:
        """Resume all jobs of a selection, as `pause_jobs` pauses them."""

    async def cancel_runs(
        self, selection: RunSelection, *, actor: str | None = None, reason: str | None = None
    ) -> list[ActOutcome]:
        """Request that all runs of a selection stop: at most 1,000, or 10,000 by a query. UnknownJobError; JobError."""

    async def hold(self, *, actor: str | None = None, reason: str | None = None) -> bool:
        """Hold back the fires of all jobs until `release`, across restarts. False where they are held already."""

    async def release(self, *, actor: str | None = None, reason: str | None = None) -> bool:
        """Release the fires of all jobs; their `catch_up` decides about those that were held. False where none are."""

    # --- runs ---

    async def trigger(  # noqa: PLR0913 - one parameter for each option of a run
        self,
        job_id: str,
        *,
        kwargs: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
        force: bool = False,
        resume: bool = True,
        actor: str | None = None,
        idempotency_key: str | None = None,
        when_full: WhenFull = "raise",
        triggered_by: str | None = None,
    ) -> Triggered:
        """Run a job now, once, and return when the run is durably accepted.

        `kwargs` and `labels` are merged into the job's for this run only. `force` skips guards. A paused job is
        resumed, unless `resume` is false: then it runs once and stays paused. The schedule does not change. A repeated
        `idempotency_key` of the same actor returns the run of the first request; IdempotencyKeyError where that was
        another request. `triggered_by` is the run that asks for this one, and links the two: TriggerDepthError where
        that chain is as long as it may be. UnknownJobError; OverrideError for an argument that the job lets nobody set;
        JobError for arguments that the function does not accept.

        `when_full` says what happens where the run cannot start and as many runs of the job wait as its `queue_limit`
        allows: "raise" raises QueueFullError, and nothing is recorded; "wait" waits until a run has left the queue, in
        the order of the callers; "miss" records the run as missed (`capacity`).
        """

    async def trigger_many(
        self, orders: Sequence[RunOrder], *, actor: str | None = None, when_full: WhenFull = "raise"
    ) -> list[Triggered]:
        """Run jobs now, once for each order (10,000 at most), and return when all runs are durably accepted, in order.

        All orders are checked first: RunOrdersError names those that are not valid. They are recorded in one commit, or
        none is: QueueFullError where one queue has no room for all of its orders. With `when_full="wait"` those without
        room wait, and are recorded as the queues get room; a call that is cancelled meanwhile has accepted the others.
        """

    async def cancel(self, execution_id: str, *, actor: str | None = None, reason: str | None = None) -> Execution:
        """Request that a run stops; one that has not started is cancelled at once.

        Return the execution as it is then: a live body may take its time. UnknownExecutionError; ExecutionOverError.
        """

    async def fail(
        self,
        execution_id: str,
        message: str,
        *,
        reason: FailedReason = "marked",
        force: bool = False,
        actor: str | None = None,
    ) -> Execution:
        """Record a running execution as failed, whatever its body does, and request that the body stops.

        For a caller that knows that the run is dead: an operator (`marked`), the reaper (`zombie`). A result that the
        body reports afterwards is kept as a late result. While the body runs, which a thread may do for long, it keeps
        its slot of the job (`JobView.lingering`). With `force` the slot is released, and the next run may start beside
        the body; this also works for a run that has ended before. UnknownExecutionError, ExecutionOverError.
        """

    async def warn(self, execution_id: str, kind: str, message: str, *, actor: str | None = None) -> Execution:
        """Record a warning about a running execution, which goes on. UnknownExecutionError, ExecutionOverError.

        `kind` is a word to filter by, `message` a sentence for people, of which 4,096 characters are kept.
        """

    async def hide(self, execution_id: str, *, actor: str | None = None) -> Execution:
        """Hide a run that has ended from lists, not its events. UnknownExecutionError, ExecutionRunningError."""

    async def execution(self, execution_id: str) -> Execution:
        """Return one execution as it is now; UnknownExecutionError."""

    async def executions(self, query: ExecutionQuery) -> Page:
        """Return a page of executions, newest first; ValueError for a cursor that is not valid."""

    async def live_runs(self) -> list[LiveRun]:
        """Return the runs that have a live body and no outcome yet."""

    async def sample(self, execution_id: str) -> BodySample:
        """Return where a live body is in its code, and what it uses; UnknownExecutionError, ExecutionOverError."""

    async def wait(self, execution_id: str) -> Execution:
        """Wait until a run, or the last that it snoozes to, has durably ended, and return it; UnknownExecutionError."""

    async def wait_many(self, execution_ids: Iterable[str]) -> list[Execution]:
        """Wait for all these runs as `wait` does, and return them in that order; UnknownExecutionError."""

    async def timing(self, execution_id: str) -> Timing:
        """Estimate the elapsed and remaining seconds of a run from progress and past runs; UnknownExecutionError."""

    # --- health and time ---

    async def at(self, moment: datetime) -> KernelApi:
        """Return the kernel as it was at a moment, to answer questions from the log up to its last event by then.

        It refuses orders, and its clock stands still; its `health` says what the log still keeps of that time.
        PastError for a time before the first event of the log, or in the future.
        """

    def health(self) -> Health:
        """Return the kernel's health, from memory; may be called in any thread and before the start."""

    async def kernels(self) -> list[KernelMember]:
        """Return the processes on the log: the kernel that leads, then those that follow."""

    async def step_down(self, *, actor: str | None = None, reason: str | None = None) -> HandOver:
        """Hand the log to another kernel, as at a clean stop, and follow; return when that begins. StepDownError."""

    async def workers(self) -> WorkerView:
        """Return the workers elsewhere that run bodies, and their queues, as the runners report them now."""

    async def report_member(self, member: KernelMember) -> None:
        """Note a process that follows; called by its kernel every 15 s, and left out after 45 s without a call."""

    async def remove_member(self, member_id: str) -> None:
        """Note that a process no longer follows; called by its kernel at its end."""

    async def sleep(self, seconds: float) -> None:
        """Wait on the kernel's clock, which a test may move."""
