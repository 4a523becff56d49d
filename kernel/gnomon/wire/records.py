"""What comes over the wire, and how it becomes what the kernel knows. Fields that are not known here are skipped."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

import msgspec

from gnomon.api import Triggered
from gnomon.domain.execution import Execution, Status
from gnomon.domain.progress import ProgressView, Step
from gnomon.domain.records import Action, ActionPage, LogLine


class Record(msgspec.Struct, kw_only=True):
    """An execution as the server writes it: its progress is spread over fields of its own."""

    id: str = msgspec.field(name="_id")
    job_id: str
    job_name: str = ""
    status: Status
    version: int = 0
    scheduled_time: datetime
    timestamp: datetime
    updated_at: datetime
    node: str = ""
    is_manual: bool = False
    force: bool = False
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    actor: str | None = None
    attempt: int = 1
    retry_of: str | None = None
    not_before: datetime | None = None
    runner: str | None = None
    worker: str | None = None
    delay: float | None = None
    execution_time: float | None = None
    reason: str | None = None
    detail: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    return_value: Any = None
    cancel_requested: bool = False
    cancelled_by: str | None = None
    warning: str | None = None
    count: int = 1
    first: datetime | None = None
    last: datetime | None = None
    late_result: str | None = None
    hidden: bool = False
    progress: float | None = None
    progress_message: str | None = None
    step: str | None = None
    current_item: str | None = None
    processed_items: int | None = None
    total_items: int | None = None
    steps: tuple[Step, ...] = ()
    declared: bool = False

    def execution(self) -> Execution:
        """Make the execution that it tells of."""
        same = {
            name: getattr(self, name)
            for name in Record.__struct_fields__
            if name in Execution.__struct_fields__ and name not in {"progress", "job_name"}
        }
        name = "" if self.job_name == self.job_id else self.job_name  # the server calls a job without a name by its id
        return Execution(**same, job_name=name, progress=self._progress())

    def _progress(self) -> ProgressView:
        return ProgressView(
            percent=self.progress,
            message=self.progress_message,
            step=self.step,
            current_item=self.current_item,
            processed_items=self.processed_items,
            total_items=self.total_items,
            steps=self.steps,
            declared=self.declared,
        )


class TriggeredRecord(Record, kw_only=True):
    """What a trigger led to."""

    resumed: bool = False
    repeated: bool = False

    def triggered(self) -> Triggered:
        """Say it in the kernel's words."""
        return Triggered(self.execution(), self.resumed, not self.repeated)


class RecordPage(msgspec.Struct):
    """A page of executions on the wire."""

    items: list[Record]
    total: int
    next: str | None = None


class ExecutionPage(msgspec.Struct, frozen=True):
    """A page of executions, newest first. `total` counts all that match; `next` is the cursor of the next page."""

    items: list[Execution]
    total: int
    next: str | None


class LogPage(msgspec.Struct):
    """Lines that a run logged."""

    items: list[LogLine]
    next: int | None = None


class LastExecution(msgspec.Struct, kw_only=True):
    """The newest execution of a job, in short."""

    id: str = msgspec.field(name="_id")
    status: Status
    timestamp: datetime
    execution_time: float | None = None
    reason: str | None = None
    error_message: str | None = None
    is_manual: bool = False


class JobSummary(msgspec.Struct, kw_only=True):
    """A job in short. `trigger` says in words when it is due; `running` and `waiting` are ids of executions."""

    id: str
    name: str
    display_name: str | None = None
    description: str = ""
    tags: list[str] = []
    status: Literal["active", "paused"]
    paused: bool
    paused_by: str | None = None
    paused_reason: str | None = None
    paused_at: datetime | None = None
    next_run_time: datetime | None = None
    trigger: str = ""
    trigger_config: dict[str, Any] = {}
    last_execution: LastExecution | None = None
    running: list[str] = []
    waiting: list[str] = []


class JobDetail(JobSummary, kw_only=True):
    """A job with its definition and the times when it is due next."""

    func: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    policies: dict[str, Any] = {}
    next_run_times: list[datetime] = []
    schedule: str = ""
    timezone: str | None = None


class HistoryEntry(msgspec.Struct, kw_only=True):
    """Something that an operator did."""

    job_id: str
    action: str
    status: Literal["success", "failed"] = "success"
    actor: str
    timestamp: datetime
    error_message: str | None = None
    execution_id: str | None = None
    detail: str | None = None

    def told(self) -> Action:
        """Say it in the kernel's words."""
        same = {name: getattr(self, name) for name in HistoryEntry.__struct_fields__ if name != "timestamp"}
        return Action(at=self.timestamp, **same)


class HistoryPage(msgspec.Struct):
    """A page of what operators did, on the wire."""

    history: list[HistoryEntry]
    total: int

    def actions(self) -> ActionPage:
        """Say it in the kernel's words."""
        return ActionPage([entry.told() for entry in self.history], self.total)


class Streak(msgspec.Struct):
    """How many runs in a row have now ended in that way, and the longest rows there have been."""

    status: str | None
    length: int
    longest_success: int
    longest_failed: int


class LastCounted(msgspec.Struct, kw_only=True):
    """The execution of a job that started last."""

    id: str
    status: Status
    timestamp: datetime
    execution_time: float | None = None


class Day(msgspec.Struct):
    """What ended on one day; the mean is of the successful executions, in seconds."""

    day: date
    success: int
    failed: int
    missed: int
    cancelled: int
    avg_execution_time: float | None = None


class Hour(msgspec.Struct):
    """What ended in the hour that begins at `hour`."""

    hour: datetime
    success: int
    failed: int
    missed: int
    cancelled: int
    avg_execution_time: float | None = None


class JobStatistics(msgspec.Struct, kw_only=True):
    """How a job has done; times are seconds. What only the plugin stats knows is None from a server without it."""

    job_id: str
    total: int
    success: int
    failed: int
    missed: int
    cancelled: int
    running: int
    scheduled: int
    success_rate: float | None = None
    avg_execution_time: float | None = None
    p50: float | None = None
    p95: float | None = None
    last_execution: LastCounted | None = None
    streak: Streak | None = None
    by_day: list[Day] | None = None
    by_hour: list[Hour] | None = None


class EventsFrame(msgspec.Struct):
    """What comes over /ws/events: events, or a word about them."""

    type: Literal["events", "ready", "reset", "heartbeat"]
    seq: int
    events: list[msgspec.Raw] = []
    log: str | None = None
    reason: str | None = None


class Envelope(msgspec.Struct):
    """What some servers put every answer into."""

    success: bool
    data: msgspec.Raw
    message: str
    timestamp: datetime
