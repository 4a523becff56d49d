"""What the calls take and give, as it is on the wire: the Structs that check it and that the OpenAPI document tells."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gnomon.api import JobView
from gnomon.domain.execution import Execution, Status
from gnomon.domain.progress import Step
from gnomon.domain.records import ExecutionQuery, LogLine
from gnomon.jobs.job import Job
from gnomon_web.schedules import told_schedule

JobStatus = Literal["active", "paused"]
Moment = Annotated[datetime, Meta(tz=True)]
JobId = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
Limit = Annotated[int, Meta(ge=1, le=200)]
Offset = Annotated[int, Meta(ge=0, le=2**53 - 1)]


# --- executions ---


class Record(msgspec.Struct, kw_only=True):
    """An execution: one run, or one run that did not happen. Times have an offset, durations are in seconds.

    `timestamp` is the actual start, for what never started the moment of recording. A missed one may stand for `count`
    fires, from `first` to `last`. `declared`: the run announced its steps, so that their weights give its progress.
    """

    id: str = msgspec.field(name="_id")
    job_id: str
    job_name: str
    status: Status
    scheduled_time: datetime
    timestamp: datetime
    execution_time: float | None
    error_message: str | None
    error_type: str | None
    traceback: str | None
    is_manual: bool
    cancel_requested: bool
    cancelled_by: str | None
    warning: str | None
    updated_at: datetime
    progress: float | None
    progress_message: str | None
    step: str | None
    current_item: str | None
    processed_items: int | None
    total_items: int | None
    steps: list[Step]
    declared: bool
    return_value: Any
    reason: str | None
    detail: str | None
    actor: str | None
    args: list[Any]
    kwargs: dict[str, Any]
    force: bool
    attempt: int
    retry_of: str | None
    not_before: datetime | None
    delay: float | None
    runner: str | None
    worker: str | None
    count: int
    first: datetime | None
    last: datetime | None
    late_result: str | None
    hidden: bool
    node: str
    version: int


class FullRecord(Record, kw_only=True):
    """An execution with its events, as they are in the log."""

    events: list[dict[str, Any]]


class TriggeredRecord(Record, kw_only=True):
    """What a trigger led to.

    `resumed`: the job was paused and is not any more. `repeated`: a request with this Idempotency-Key came before, and
    this is its run.
    """

    resumed: bool
    repeated: bool


_SAME = tuple(name for name in Record.__struct_fields__ if name in Execution.__struct_fields__ and name != "progress")


def fields_of(execution: Execution) -> dict[str, Any]:
    """Collect the fields of a Record."""
    view = execution.progress
    return {name: getattr(execution, name) for name in _SAME} | {
        "job_name": execution.job_name or execution.job_id,
        "progress": view.percent,
        "progress_message": view.message,
        "step": view.step,
        "current_item": view.current_item,
        "processed_items": view.processed_items,
        "total_items": view.total_items,
        "steps": list(view.steps),
        "declared": view.declared,
    }


def record(execution: Execution) -> Record:
    """Make the record of an execution."""
    return Record(**fields_of(execution))


class RecordPage(msgspec.Struct, kw_only=True):
    """Executions, newest first. `total` counts all that match, exactly; `next` is the cursor of the next page."""

    items: list[Record]
    total: int
    limit: int
    offset: int
    next: str | None


class JobRecordFilters(msgspec.Struct, kw_only=True, frozen=True):
    """Which executions of a job; all filters combine. `q` is looked for in error messages.

    `since` <= timestamp < `until`. `cursor` is the `next` of the page before and takes the place of `offset`.
    """

    limit: Limit = 50
    offset: Offset = 0
    cursor: Text | None = None
    status: Annotated[tuple[Status, ...], Meta(min_length=1)] = ()
    is_manual: bool | None = None
    since: Moment | None = None
    until: Moment | None = None
    q: Text | None = None

    def __post_init__(self) -> None:
        """Refuse two ways to say where the page begins."""
        if self.cursor is not None and self.offset:
            raise ValueError("cursor and offset both say where the page begins: give one of them")

    def query(self, job_id: str | None) -> ExecutionQuery:
        """Ask the store in its own words."""
        return ExecutionQuery(
            job_id=job_id,
            status=self.status,
            is_manual=self.is_manual,
            since=self.since,
            until=self.until,
            text=self.q,
            limit=self.limit,
            offset=self.offset,
            cursor=self.cursor,
        )


class RecordFilters(JobRecordFilters, kw_only=True, frozen=True):
    """Which executions; all filters combine. `q` is looked for in error messages.

    `since` <= timestamp < `until`. `cursor` is the `next` of the page before and takes the place of `offset`.
    """

    job_id: JobId | None = None


class LogFilters(msgspec.Struct, kw_only=True, frozen=True):
    """Which lines of a run's log: those with numbers greater than `after`."""

    after: Offset = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


class LogPage(msgspec.Struct, kw_only=True):
    """Lines that a run logged, by number. `next` is the `after` of the next page, null where there is none yet.

    Only the newest lines of a run are kept: the first number tells how many are gone.
    """

    items: list[LogLine]
    after: int
    limit: int
    next: int | None


class FailReason(msgspec.Struct, kw_only=True, frozen=True):
    """Why an operator knows that a run is dead; it becomes its error message."""

    reason: Text = "marked as failed by an operator"


class ActReason(msgspec.Struct, kw_only=True, frozen=True):
    """Why somebody does this; kept in the log."""

    reason: Text | None = None


# --- jobs ---


class LastExecution(msgspec.Struct, kw_only=True):
    """The newest execution of a job, in short."""

    id: str = msgspec.field(name="_id")
    status: Status
    timestamp: datetime
    execution_time: float | None
    reason: str | None
    error_message: str | None
    is_manual: bool


def last_execution(execution: Execution) -> LastExecution:
    """Tell an execution in short."""
    return LastExecution(**{name: getattr(execution, name) for name in LastExecution.__struct_fields__})


class JobSummary(msgspec.Struct, kw_only=True):
    """A job. `trigger` says in words when it is due, `running` and `waiting` are executions.

    `display_name` is what an operator calls it; an operator's description stands in place of the definition's.

    `next_run_time` is null for a paused job, and for one that runs only when triggered.
    """

    id: str
    name: str
    display_name: str | None
    description: str
    tags: list[str]
    status: JobStatus
    paused: bool
    paused_by: str | None
    paused_reason: str | None
    paused_at: datetime | None
    next_run_time: datetime | None
    trigger: str
    trigger_config: dict[str, Any]
    last_execution: LastExecution | None
    running: list[str]
    waiting: list[str]


class Policies(msgspec.Struct, kw_only=True):
    """How a job is run; durations are text such as `1h 30m`."""

    catch_up: str
    grace: str | None
    overlap: str
    max_instances: int | None
    timeout: str | None
    silence: str | None
    cancel_grace: str
    retry: dict[str, Any]
    runner: str | None
    limits: dict[str, Any] | None
    steps: list[str]
    options: dict[str, Any]


class Counts(msgspec.Struct, kw_only=True):
    """How many executions a job has in the log, by status; those that are hidden from lists too."""

    total: int
    scheduled: int
    running: int
    success: int
    failed: int
    missed: int
    cancelled: int


class JobDetail(JobSummary, kw_only=True):
    """A job with its definition, the times when it is due next, and how many executions there are."""

    func: str
    args: list[Any]
    kwargs: dict[str, Any]
    policies: Policies
    next_run_times: list[datetime]
    schedule: str
    timezone: str | None
    statistics: Counts


def summary_fields(view: JobView, last: LastExecution | None) -> dict[str, Any]:
    """Collect the fields of a JobSummary."""
    job, state = view.job, view.state
    trigger, trigger_config = told_schedule(job)
    return {
        "id": job.id,
        "name": job.title,
        "display_name": state.display_name or None,
        "description": state.note or job.description,
        "tags": job.tags,
        "status": "paused" if state.paused else "active",
        "paused": state.paused,
        "paused_by": state.paused_by,
        "paused_reason": state.paused_reason,
        "paused_at": state.paused_at,
        "next_run_time": view.next_fire,
        "trigger": trigger,
        "trigger_config": trigger_config,
        "last_execution": last,
        "running": view.running,
        "waiting": view.waiting,
    }


def policies(job: Job) -> Policies:
    """Tell the policies of a job, those too that are as usual."""

    def text(value: object) -> str | None:
        return None if value is None else str(value)

    def table(value: msgspec.Struct) -> dict[str, Any]:
        plain = msgspec.structs.asdict(value)
        return {key: entry if isinstance(entry, int | float | None) else str(entry) for key, entry in plain.items()}

    return Policies(
        catch_up=job.catch_up,
        grace=text(job.grace),
        overlap=job.overlap,
        max_instances=job.max_instances,
        timeout=text(job.timeout),
        silence=text(job.silence),
        cancel_grace=str(job.cancel_grace),
        retry=table(job.retry),
        runner=job.runner,
        limits=None if job.limits is None else table(job.limits),
        steps=[step if isinstance(step, str) else step.name for step in job.steps],
        options=job.options,
    )


class JobFilters(msgspec.Struct, kw_only=True, frozen=True):
    """Which jobs: `q` is looked for in id, names and description, ignoring case."""

    q: Text | None = None
    tag: Text | None = None
    status: JobStatus | None = None


class Metadata(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What an operator calls a job and says of it; null leaves what there is, an empty text takes it away."""

    display_name: Annotated[str, Meta(max_length=50)] | None = None
    description: Annotated[str, Meta(max_length=200)] | None = None


class ForceFlag(msgspec.Struct, kw_only=True, frozen=True):
    """Whether guards are skipped."""

    force: bool | None = None


class RunOptions(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How a job is run by hand: `kwargs` count for this run only, `force` skips guards.

    A paused job is resumed, unless `resume` is false: then it runs once and stays paused.
    """

    kwargs: dict[str, Any] = {}
    force: bool = False
    resume: bool = True


class Trigger(RunOptions, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Which job is run by hand, and how."""

    job_id: JobId


class TriggerHeaders(msgspec.Struct, kw_only=True, frozen=True):
    """A request that is repeated with the same key makes one run."""

    idempotency_key: Annotated[str, Meta(min_length=1, max_length=255)] | None = msgspec.field(
        name="Idempotency-Key", default=None
    )
