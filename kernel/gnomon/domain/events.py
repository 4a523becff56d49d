"""The event types. Each records one fact, is named in the past tense, and never changes once it is written.

On the wire an event is one flat JSON object with a `type`. What it imports
is a part of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

from gnomon.domain.access_events import AccessDenied as AccessDenied
from gnomon.domain.access_events import AccessFact as AccessFact
from gnomon.domain.access_events import LoggedIn as LoggedIn
from gnomon.domain.access_events import LoggedOut as LoggedOut
from gnomon.domain.alert_events import AlertAcknowledged as AlertAcknowledged
from gnomon.domain.alert_events import AlertEvent as AlertEvent
from gnomon.domain.alert_events import AlertFact as AlertFact
from gnomon.domain.alert_events import AlertOpened as AlertOpened
from gnomon.domain.alert_events import AlertRepeated as AlertRepeated
from gnomon.domain.alert_events import AlertResolved as AlertResolved
from gnomon.domain.alert_events import AlertSnoozed as AlertSnoozed
from gnomon.domain.declared_step import DeclaredStep as DeclaredStep
from gnomon.domain.event_base import LOG_FORMAT as LOG_FORMAT
from gnomon.domain.event_base import Event as Event
from gnomon.domain.event_base import JobEvent as JobEvent
from gnomon.domain.event_base import KernelEvent as KernelEvent
from gnomon.domain.event_base import wire_name as wire_name
from gnomon.domain.kernel_events import ActRefused as ActRefused
from gnomon.domain.kernel_events import ClockChanged as ClockChanged
from gnomon.domain.kernel_events import KernelHeldUp as KernelHeldUp
from gnomon.domain.kernel_events import KernelLed as KernelLed
from gnomon.domain.kernel_events import KernelStarted as KernelStarted
from gnomon.domain.kernel_events import KernelStopped as KernelStopped
from gnomon.domain.kernel_events import QueueResumed as QueueResumed
from gnomon.domain.kernel_events import QueueStalled as QueueStalled
from gnomon.domain.operator_events import BackfillEnded as BackfillEnded
from gnomon.domain.operator_events import BackfillStarted as BackfillStarted
from gnomon.domain.operator_events import FireSkipped as FireSkipped
from gnomon.domain.operator_events import Hold as Hold
from gnomon.domain.operator_events import HoldFact as HoldFact
from gnomon.domain.operator_events import KernelHeld as KernelHeld
from gnomon.domain.operator_events import KernelReleased as KernelReleased
from gnomon.domain.operator_events import OperatorFact as OperatorFact

FailedReason = Literal[
    "exception", "timeout", "silence", "zombie", "lost", "marked", "killed", "internal", "unknown_function"
]
Cause = Literal["at_start", "backfill"]
"""What made a run that is neither a fire of the schedule nor an operator's single trigger."""
MissedReason = Literal["late", "overlap", "guard", "downtime", "paused", "held", "skipped", "capacity", "dependency"]
Origin = Literal["config", "code", "plugin", "api", "attached"]
"""Where a job is defined: a config file, the program, a plugin, an order to a running kernel (such a job lives in the
log), or another scheduler that is attached to the kernel and runs the job itself."""


class ExecutionEvent(Event, frozen=True, kw_only=True):
    """A fact about one execution; its stream is the execution id."""

    @property
    def execution_id(self) -> str:
        """The id of the execution: 24 hex characters."""
        return self.stream


class Scheduled(ExecutionEvent, frozen=True, kw_only=True, tag="scheduled"):
    """A fire, a manual run or a retry was accepted and will run.

    `scheduled_time` is the time of the fire; for a retry the time of the original fire, for a manual run the time of
    the request. `not_before` is the earliest start of a retry, of a run after a snooze, and of a trigger of a job with
    `debounce`. `attempt` counts retries and snoozes, and `retry_of` is the run before; `snoozes` is how many of the
    earlier runs were snoozed. `request_digest` is the digest of a request with an idempotency key: the same key with
    another request is refused. `cause` is set for runs that are manual, but not triggered one by one. `triggered_by` is
    the id of the run whose body asked for this one, and `trigger_depth` the number of runs before it in that chain.
    `source` names the other scheduler that decided the run.
    """

    scheduled_time: datetime
    job_name: str = ""
    is_manual: bool = False
    force: bool = False
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    labels: dict[str, str] = {}
    actor: str | None = None
    attempt: int = 1
    retry_of: str | None = None
    snoozes: int = 0
    not_before: datetime | None = None
    request_digest: str | None = None
    cause: Cause | None = None
    triggered_by: str | None = None
    trigger_depth: int = 0
    source: str | None = None

    @property
    def is_fire(self) -> bool:
        return not self.is_manual and self.attempt == 1 and self.source is None


class HandedOver(ExecutionEvent, frozen=True, kw_only=True, tag="handed_over"):
    """The run was handed over to a runner whose bodies run elsewhere; `started` follows when its body begins there.

    `queue` is the name of the queue that it goes to. A worker may begin the body from now on. `delay` is the number of
    seconds between the due time and this event.
    """

    runner: str
    queue: str = ""
    delay: float = 0.0


class Started(ExecutionEvent, frozen=True, kw_only=True, tag="started"):
    """The body is about to run; `delay` is the number of seconds between the due time and this event.

    `queued` is the part of it after the run was handed over; None for a body that the kernel runs itself. `code` names
    the code that a worker elsewhere runs, such as "reports 1.4.2", as far as the worker knows.
    """

    runner: str
    worker: str = ""
    delay: float = 0.0
    queued: float | None = None
    code: str | None = None


class Progress(ExecutionEvent, frozen=True, kw_only=True, tag="progress"):
    """The body reported its progress; None stands for "not reported". `percent` is 0 to 100 of the whole run.

    `number` is that of the newest report in it, where a worker elsewhere numbers the reports of a run: one that comes
    again is not recorded again.
    """

    percent: float | None = None
    message: str | None = None
    step: str | None = None
    current_item: str | None = None
    processed_items: int | None = None
    total_items: int | None = None
    steps: list[DeclaredStep] | None = None
    skipped: list[str] | None = None
    number: int | None = None


class Succeeded(ExecutionEvent, frozen=True, kw_only=True, tag="succeeded"):
    """The body returned. `return_value` is JSON or a repr, bounded; `execution_time` is in seconds."""

    return_value: Any = None
    execution_time: float


class Failed(ExecutionEvent, frozen=True, kw_only=True, tag="failed"):
    """The run ended without a result; `reason` is the kind of failure. `by_kernel` marks an act of the kernel."""

    reason: FailedReason
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    execution_time: float | None = None
    actor: str | None = None
    by_kernel: bool = False


class Missed(ExecutionEvent, frozen=True, kw_only=True, tag="missed"):
    """A fire, or a range of `count` fires from `first` to `last`, did not run and never will.

    `blocked_by` is the id of the run in the way: for `overlap`, and for `late` if a run blocked the event loop.
    `source` is as in `scheduled`.
    """

    scheduled_time: datetime
    reason: MissedReason
    job_name: str = ""
    detail: str | None = None
    blocked_by: str | None = None
    is_manual: bool = False
    labels: dict[str, str] = {}
    actor: str | None = None
    count: int = 1
    first: datetime | None = None
    last: datetime | None = None
    request_digest: str | None = None
    triggered_by: str | None = None
    source: str | None = None

    @property
    def is_fire(self) -> bool:
        return not self.is_manual and self.version == 1 and self.source is None

    @property
    def first_fire(self) -> datetime:
        """The first fire that this event covers."""
        return self.first or self.scheduled_time

    @property
    def last_fire(self) -> datetime:
        """The last fire that this event covers."""
        return self.last or self.scheduled_time


class Cancelled(ExecutionEvent, frozen=True, kw_only=True, tag="cancelled"):
    """The run was stopped on request, or withdrawn before it started, or its body snoozed.

    `by_kernel` marks an act of the kernel. `snoozed_until` and `snoozed_to` are set for a snooze: the time and the
    id of the run that takes its place. Older versions would not see an end of another type.
    """

    actor: str | None = None
    by_kernel: bool = False
    reason: str | None = None
    execution_time: float | None = None
    snoozed_until: datetime | None = None
    snoozed_to: str | None = None


class CancelRequested(ExecutionEvent, frozen=True, kw_only=True, tag="cancel_requested"):
    """Someone requested that the run stop; the event that ends the run shows whether it did.

    `by_kernel` marks an act of the kernel.
    """

    actor: str | None = None
    by_kernel: bool = False
    reason: str | None = None


class Warned(ExecutionEvent, frozen=True, kw_only=True, tag="warned"):
    """A watcher found something about the run that needs attention; the run continues.

    `kind` is a word to filter by, such as `silence`; `message` is the whole warning, as a sentence.
    """

    kind: str
    message: str
    actor: str | None = None
    seconds: float | None = None


BLOCKED_LOOP = "blocked_loop"
"""The kind of the warning about a body that blocked the kernel's event loop for `seconds`."""


TRIED_TO_EXIT = "tried_to_exit"
"""The kind of the warning about a task or callback of a body that raised SystemExit or KeyboardInterrupt."""


class LateResult(ExecutionEvent, frozen=True, kw_only=True, tag="late_result"):
    """A body reported a result after its execution had ended; the outcome stays what it was."""

    outcome: Literal["succeeded", "failed", "cancelled"]
    return_value: Any = None
    error_type: str | None = None
    error_message: str | None = None
    execution_time: float | None = None


class Hidden(ExecutionEvent, frozen=True, kw_only=True, tag="hidden"):
    """Someone removed the record of a finished run from lists; the log is not cut."""

    actor: str | None = None


class Imported(ExecutionEvent, frozen=True, kw_only=True, tag="imported"):
    """A run of another scheduler was taken over as history, with its outcome: the first and only event of its life.

    `source` names the records that it comes from. `at` is the time of the import; `started_at` and `ended_at` are those
    of the run. `record` has the fields of the original record that no other field holds.
    """

    source: str
    status: Literal["success", "failed", "missed", "cancelled"]
    scheduled_time: datetime
    started_at: datetime
    ended_at: datetime
    job_name: str = ""
    is_manual: bool = False
    execution_time: float | None = None
    return_value: Any = None
    reason: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    cancel_requested: bool = False
    percent: float | None = None
    message: str | None = None
    current_item: str | None = None
    processed_items: int | None = None
    total_items: int | None = None
    record: dict[str, Any] = {}


class JobAdded(JobEvent, frozen=True, kw_only=True, tag="job_added"):
    """A job was added, or added again after its removal.

    `definition` has the keys of the Job that differ from the defaults. Fires are counted from `anchor`. It is `at`,
    unless the clock had been set back before the newest fire of the job: then it is that fire. Older logs do
    not have it. `owner` names the set of jobs to which it belongs. A `temporary` job ends with its kernel.
    """

    definition: dict[str, Any]
    anchor: datetime | None = None
    origin: Origin = "config"
    owner: str | None = None
    temporary: bool = False


class JobChanged(JobEvent, frozen=True, kw_only=True, tag="job_changed"):
    """Some keys of the definition have new values; None stands for a key that is gone.

    With `rescheduled` the schedule is another one, and its fires are counted from `anchor`, as in `job_added`.
    `origin`, `owner` (an empty text for none) and `temporary` are the new ones, None where they stay.
    """

    changes: dict[str, Any]
    rescheduled: bool = False
    anchor: datetime | None = None
    origin: Origin | None = None
    owner: str | None = None
    temporary: bool | None = None


class JobRemoved(JobEvent, frozen=True, kw_only=True, tag="job_removed"):
    """The job was removed; its executions remain."""


class JobPaused(JobEvent, frozen=True, kw_only=True, tag="job_paused"):
    """The job was paused: no fire of it runs until it is resumed.

    `problem` is set where the kernel paused it, because the job could not run.
    """

    problem: str | None = None


class JobResumed(JobEvent, frozen=True, kw_only=True, tag="job_resumed"):
    """The job was resumed: its fires run again, and those of the pause get their outcome now."""


class JobDescribed(JobEvent, frozen=True, kw_only=True, tag="job_described"):
    """An operator gave the job a display name or a note; None keeps the present one, an empty text removes it.

    Neither is part of the definition, so both survive every change of it.
    """

    display_name: str | None = None
    note: str | None = None


class ActionImported(JobEvent, frozen=True, kw_only=True, tag="action_imported"):
    """An operator's act on another scheduler was taken over as history; it does not change the job.

    `acted_at` is when it happened, `source` and `source_id` are the records and the one that it comes from.
    """

    source: str
    source_id: str
    acted_at: datetime
    action: str
    status: Literal["success", "failed"] = "success"
    error_message: str | None = None


class UnknownEvent(Event, frozen=True, kw_only=True, tag="unknown"):
    """An event of a type that this version does not know: kept unchanged in `raw`, and skipped by every fold."""

    raw: dict[str, Any]


Lifecycle = Scheduled | HandedOver | Started | Progress | Succeeded | Failed | Missed | Cancelled
JobFact = JobAdded | JobChanged | JobRemoved | JobPaused | JobResumed | JobDescribed | ActionImported | OperatorFact
Term = KernelStarted | KernelLed | KernelStopped
RecordedFact = AccessFact | AlertFact
"""What plugins record: `KernelApi.record_fact`."""
KernelFact = Term | ClockChanged | KernelHeldUp | QueueStalled | QueueResumed | HoldFact | ActRefused | RecordedFact
KnownEvent = Lifecycle | CancelRequested | Warned | LateResult | Hidden | Imported | JobFact | KernelFact

LIFECYCLE: tuple[type[Event], ...] = (Scheduled, HandedOver, Started, Progress, Succeeded, Failed, Missed, Cancelled)
JOB_EVENTS: tuple[type[Event], ...] = get_args(JobFact)
KERNEL_EVENTS: tuple[type[Event], ...] = get_args(KernelFact)
ALL_EVENTS: tuple[type[Event], ...] = get_args(KnownEvent)
EVENT_TYPES: dict[str, type[Event]] = {wire_name(event_type): event_type for event_type in ALL_EVENTS}

JOB_STREAM = "job:"
KERNEL_STREAM = "kernel:"


def job_stream(job_id: str) -> str:
    """Return the name of the stream of a job's own events."""
    return f"{JOB_STREAM}{job_id}"


def kernel_stream(kernel_id: str) -> str:
    """Return the name of the stream of a kernel's own events."""
    return f"{KERNEL_STREAM}{kernel_id}"
