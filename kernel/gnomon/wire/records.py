"""Executions, jobs and operator actions on the wire. Times have an offset, durations are in seconds.

The server always writes every field. Fields have defaults so that a client can read the answers of an older server; it
skips fields that it does not know.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

import msgspec

from gnomon.domain.eta import Eta
from gnomon.domain.events import Cause, Origin
from gnomon.domain.execution import Execution, Status
from gnomon.domain.progress import ProgressView, Step
from gnomon.domain.records import Action, LogLine
from gnomon.json_depth import cut_value
from gnomon.wire.operator_answers import BackfillProgress, SkippedTime
from gnomon.wire.recent_runs import RecentRun
from gnomon.wire.statistics import Counts

T = TypeVar("T")
JobStatus = Literal["active", "paused"]
JsonObject = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]
"""A JSON object that is passed on as it is."""


# --- executions ---


class Record(msgspec.Struct, kw_only=True):
    """An execution: one run, or one fire that did not run. Its progress is spread over fields of its own.

    `timestamp` is the actual start, or the moment of recording for what never started. A missed execution may stand for
    `count` fires, from `first` to `last`. `declared`: the run announced its steps, so their weights give its progress.
    `imported_from` names the records of another scheduler that it was taken over from.
    `truncated`: long arguments, results or texts have been cut, as in all lists; the record itself has them whole.
    `eta` is how long a running one still needs, in answers to questions; null where that is not known.
    """

    id: str = msgspec.field(name="_id")
    job_id: str
    job_name: str = ""
    status: Status
    scheduled_time: datetime
    timestamp: datetime
    execution_time: float | None = None
    error_message: str | None = None
    error_type: str | None = None
    traceback: str | None = None
    is_manual: bool = False
    cancel_requested: bool = False
    cancelled_by: str | None = None
    warning: str | None = None
    updated_at: datetime
    progress: float | None = None
    progress_message: str | None = None
    step: str | None = None
    current_item: str | None = None
    processed_items: int | None = None
    total_items: int | None = None
    steps: tuple[Step, ...] = ()
    declared: bool = False
    return_value: Any = None
    reason: str | None = None
    detail: str | None = None
    actor: str | None = None
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    labels: dict[str, str] = {}
    force: bool = False
    attempt: int = 1
    retry_of: str | None = None
    snoozes: int = 0
    snoozed_until: datetime | None = None
    snoozed_to: str | None = None
    triggered_by: str | None = None
    not_before: datetime | None = None
    cause: Cause | None = None
    delay: float | None = None
    runner: str | None = None
    worker: str | None = None
    handed_to: str | None = None
    handed_over_at: datetime | None = None
    queue: str | None = None
    count: int = 1
    first: datetime | None = None
    last: datetime | None = None
    late_result: str | None = None
    hidden: bool = False
    imported_from: str | None = None
    truncated: bool = False
    node: str = ""
    version: int = 0
    eta: Eta | None = None

    @classmethod
    def of(cls, execution: Execution, **more: Any) -> Self:
        """Make the record of an execution; `more` are the fields that only a subclass has.

        Values of older versions that are nested too deeply for readers are cut.
        """
        fields = {name: getattr(execution, name) for name in _SAME}
        for name in _VALUES:
            fields[name] = cut_value(fields[name])
        fields["job_name"] = execution.job_name or execution.job_id
        for name, of_view in _PROGRESS.items():
            fields[name] = getattr(execution.progress, of_view)
        return cls(**fields, **more)

    def execution(self) -> Execution:
        """Return the execution that the record describes."""
        fields = {name: getattr(self, name) for name in _SAME}
        fields["job_name"] = "" if self.job_name == self.job_id else self.job_name
        view = ProgressView(**{of_view: getattr(self, name) for name, of_view in _PROGRESS.items()})
        return Execution(**fields, progress=view)


_PROGRESS = {"progress": "percent", "progress_message": "message"} | {
    name: name for name in ("step", "current_item", "processed_items", "total_items", "steps", "declared")
}
"""From the fields of a record to those of the progress that they come from."""
_VALUES = ("args", "kwargs", "return_value")
_SAME = tuple(set(Record.__struct_fields__) - {"job_name", "eta", *_PROGRESS})
"""The fields that a record and its execution have in common."""


class FullRecord(Record, kw_only=True):
    """An execution with its events, as they are in the log."""

    events: list[JsonObject]


class TriggeredRecord(Record, kw_only=True):
    """The run that a trigger led to.

    `resumed`: the job was paused and has been resumed. `repeated`: an earlier request had the same Idempotency-Key, and
    this is its run. `joined`: the job has `debounce`, and this run of an earlier trigger waited already.
    """

    resumed: bool = False
    repeated: bool = False
    joined: bool = False


class AcceptedOrders(msgspec.Struct, kw_only=True):
    """The runs of a list of orders, in their order."""

    items: list[TriggeredRecord]


class RecordPage(msgspec.Struct, kw_only=True):
    """Executions, newest first. `total` counts all that match, exactly; `next` is the cursor of the next page."""

    items: list[Record]
    total: int
    limit: int = 0
    offset: int = 0
    next: str | None = None


class LogSummary(msgspec.Struct, kw_only=True):
    """What is kept of the log of a run: the numbers of its first and last line, and how many lines match the filters.

    Lines before `first` are not kept. `levels` counts all kept lines as debug, info, warning and error.
    """

    first: int | None
    last: int | None
    total: int
    matching: int
    levels: dict[str, int]


class LogPage(msgspec.Struct, kw_only=True):
    """Lines that a run logged, by number. `next` is the `after` of the next page, null where there is none yet.

    Only the newest lines of a run are kept: the first number shows how many are gone. `offset` is the number of lines
    that match before the first one here; null where nothing was searched. `summary` is there on request.
    """

    items: list[LogLine]
    after: int = 0
    limit: int = 0
    offset: int | None = None
    next: int | None = None
    summary: LogSummary | None = None


# --- jobs ---


class LastExecution(msgspec.Struct, kw_only=True):
    """A summary of a job's newest execution."""

    id: str = msgspec.field(name="_id")
    status: Status
    timestamp: datetime
    execution_time: float | None = None
    reason: str | None = None
    error_message: str | None = None
    is_manual: bool = False

    @classmethod
    def of(cls, execution: Execution) -> Self:
        """Summarize an execution."""
        return cls(**{name: getattr(execution, name) for name in cls.__struct_fields__})


class AddedJob(msgspec.Struct, kw_only=True):
    """A job of a list that was added: its version, which is its ETag too, and when it is due first."""

    id: str
    version: int
    next_run_time: datetime | None = None


class RemovedJob(msgspec.Struct, kw_only=True):
    """A job that was removed, and its last version."""

    id: str
    version: int


class JobSummary(msgspec.Struct, kw_only=True):
    """A job. `trigger` describes its schedule in words; `running`, `waiting` and `lingering` are ids of executions.

    A lingering run has ended, for example by its timeout, but its code still runs and keeps its slot of the job.

    `display_name` is the name that an operator gave it; an operator's description replaces that of the definition.
    Its `group` is the one whose limits it shares with other jobs. `next_run_time` is null for a paused job, and for one
    that runs only when triggered.

    `origin` says where the job is defined: in the config, in code, by a plugin, or `api` for one that was added at run
    time; `source` names the file or the plugin. `owner` names the set to which it belongs then; a `temporary` one ends
    with its kernel. `version` is that of the job in the log, and its ETag. `problem` is set where the kernel cannot
    build the job, and holds it paused. `backfill` is set while runs are made for past fires. `recent` are its newest
    runs, newest first; only in answers to `fields=recent`.
    """

    id: str
    name: str
    display_name: str | None = None
    description: str = ""
    tags: list[str] = []
    status: JobStatus
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
    lingering: list[str] = []
    group: str | None = None
    origin: Origin = "config"
    source: str = ""
    owner: str | None = None
    temporary: bool = False
    version: int = 0
    problem: str | None = None
    backfill: BackfillProgress | None = None
    recent: list[RecentRun] | msgspec.UnsetType = msgspec.UNSET


class Policies(msgspec.Struct, kw_only=True):
    """The policies of a job, defaults included; durations are text such as `1h 30m`.

    `overrides` lists the arguments that a command may set for one run, or is `all` or `none`.
    """

    catch_up: str = ""
    grace: str | None = None
    overlap: str = ""
    max_instances: int | None = None
    queue_limit: int | None = None
    debounce: str | None = None
    group: str | None = None
    priority: int = 0
    after: list[str] = []
    labels: dict[str, str] = {}
    timeout: str | None = None
    silence: str | None = None
    cancel_grace: str = ""
    retry: dict[str, Any] = {}
    runner: str | None = None
    limits: dict[str, Any] | None = None
    steps: list[str] = []
    options: dict[str, Any] = {}
    overrides: list[str] | Literal["all", "none"] = "all"


class JobDetail(JobSummary, kw_only=True):
    """A job with its definition, its next fires, those that operators skip, and the number of its executions.

    `definition` has the keys that differ from the defaults, as an order or a config has them.
    """

    func: str
    definition: dict[str, Any] = {}
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    policies: Policies = msgspec.field(default_factory=Policies)
    next_run_times: list[datetime] = []
    skips: list[SkippedTime] = []
    schedule: str = ""
    timezone: str | None = None
    statistics: Counts | None = None


# --- operator actions ---


class HistoryEntry(msgspec.Struct, kw_only=True):
    """An operator action. A failed one was refused; `error_message` is the reason."""

    job_id: str
    action: str
    status: Literal["success", "failed"] = "success"
    error_message: str | None = None
    actor: str
    timestamp: datetime
    execution_id: str | None = None
    detail: str | None = None

    @classmethod
    def of(cls, action: Action) -> Self:
        """Make the entry of an action."""
        fields = {name: getattr(action, name) for name in cls.__struct_fields__ if name != "timestamp"}
        return cls(timestamp=action.at, **fields)

    def to_action(self) -> Action:
        """Return the action that the entry describes."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "timestamp"}
        return Action(at=self.timestamp, **fields)


class HistoryPage(msgspec.Struct, kw_only=True):
    """Operator actions, newest first; `total` is exact."""

    history: list[HistoryEntry]
    total: int
    limit: int = 0
    offset: int = 0


# --- frames, envelopes and media types ---

CLEAN_JSON = "application/vnd.gnomon+json"
"""The media type with which a client asks for these records, whatever dialect the server speaks to others."""


class EventsFrame(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A frame of `/ws/events`: events, or a notice. Everything up to position `seq` has been sent.

    `ready` is the first frame. After `reset` the reader forgets what it has: the log follows from its beginning.
    """

    type: Literal["events", "ready", "reset", "heartbeat"]
    seq: int
    events: list[msgspec.Raw] = []
    log: str | None = None
    reason: Literal["other-log", "pruned"] | None = None


class Envelope(msgspec.Struct, Generic[T], kw_only=True, omit_defaults=True):
    """The wrapper around the answers of a server with `envelope = true`; `data` is the answer or the problem.

    Clients that accept CLEAN_JSON get no envelope.
    """

    success: bool
    data: T
    message: str
    timestamp: datetime
    code: int | None = None
