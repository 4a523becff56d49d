"""Every event type: one fact each, in the past tense, never changed once written.

The module imports nothing else of ours. On the wire an event is one flat JSON object whose `type` names it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

LOG_FORMAT = 3
"""Version of the JSON that events are written in. Older ones go through the upcasters of codec.py."""

FailedReason = Literal["exception", "timeout", "silence", "zombie", "lost", "marked", "killed"]
MissedReason = Literal["late", "overlap", "guard", "downtime", "paused", "capacity"]


# gc=False, here and where else thousands of Structs are alive at once: there can be no cycle through JSON, and the
# garbage collector, which would look at each of them again and again, took an eighth of the time of a burst.


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", gc=False):
    """What all events share.

    `stream` is an execution id, or `job:<job_id>` for facts about a job; `version` counts 1..n in the stream and
    (stream, version) is unique. `position` is the event's place in the whole log, contiguous from 1; the journal
    sets it when the event is appended. `at` is aware UTC.
    """

    position: int = 0
    stream: str
    version: int
    at: datetime
    node: str
    job_id: str
    # A factory and not a plain default: msgspec then writes the number always, so that a log tells its format. This one
    # answers with the number itself in half the time of a lambda.
    log_format: int = msgspec.field(default_factory=LOG_FORMAT.__int__)

    @property
    def type(self) -> str:
        """The event's name on the wire, such as `succeeded`."""
        return wire_name(type(self))


def wire_name(event_type: type[Event]) -> str:
    """Tell how an event class is called on the wire."""
    return str(event_type.__struct_config__.tag)


class ExecutionEvent(Event, frozen=True, kw_only=True):
    """A fact about one execution; its stream is the execution id."""

    @property
    def execution_id(self) -> str:
        """The id of the execution: 24 hex characters."""
        return self.stream


class Scheduled(ExecutionEvent, frozen=True, kw_only=True, tag="scheduled"):
    """A fire, or a manual trigger, was accepted and will run.

    `scheduled_time` is the instant that the trigger named (of the original fire for a retry, the moment of the request
    for a manual run). `not_before` is set where the run must wait: a retry's delay.
    """

    scheduled_time: datetime
    job_name: str = ""
    is_manual: bool = False
    force: bool = False
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    actor: str | None = None
    attempt: int = 1
    retry_of: str | None = None
    not_before: datetime | None = None


class Started(ExecutionEvent, frozen=True, kw_only=True, tag="started"):
    """The body is about to run; `delay` is the seconds between the time it was due and this event."""

    runner: str
    worker: str = ""
    delay: float = 0.0


class DeclaredStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step that a job announces; `weight` is its share of the whole, relative to the other steps."""

    name: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a weight that would make the log unreadable (JSON has no NaN) or progress meaningless."""
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"the weight of step {self.name!r} must be 0 or more and finite, got {self.weight}")


class Progress(ExecutionEvent, frozen=True, kw_only=True, tag="progress"):
    """What the body told of itself; None means «said nothing about it». `percent` is 0 to 100 of the whole run."""

    percent: float | None = None
    message: str | None = None
    step: str | None = None
    current_item: str | None = None
    processed_items: int | None = None
    total_items: int | None = None
    steps: list[DeclaredStep] | None = None
    skipped: list[str] | None = None


class Succeeded(ExecutionEvent, frozen=True, kw_only=True, tag="succeeded"):
    """The body returned. `return_value` is JSON or a repr, bounded; `execution_time` is seconds since started."""

    return_value: Any = None
    execution_time: float


class Failed(ExecutionEvent, frozen=True, kw_only=True, tag="failed"):
    """The run ended without a result; `reason` says what kind of end it was."""

    reason: FailedReason
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    execution_time: float | None = None
    actor: str | None = None


class Missed(ExecutionEvent, frozen=True, kw_only=True, tag="missed"):
    """A fire, or a folded range of `count` fires from `first` to `last`, did not run and never will.

    `blocked_by` is the id of the run that was in the way, for the reason `overlap`.
    """

    scheduled_time: datetime
    reason: MissedReason
    job_name: str = ""
    detail: str | None = None
    blocked_by: str | None = None
    is_manual: bool = False
    actor: str | None = None
    count: int = 1
    first: datetime | None = None
    last: datetime | None = None


class Cancelled(ExecutionEvent, frozen=True, kw_only=True, tag="cancelled"):
    """The run ended because somebody asked for it, or was taken back before it started."""

    actor: str | None = None
    reason: str | None = None
    execution_time: float | None = None


class CancelRequested(ExecutionEvent, frozen=True, kw_only=True, tag="cancel_requested"):
    """Somebody asked the run to stop; whether it did is told by the event that ends it."""

    actor: str | None = None
    reason: str | None = None


class Warned(ExecutionEvent, frozen=True, kw_only=True, tag="warned"):
    """Somebody who watches the run found something that a person should look at; the run goes on.

    `kind` is a word to filter by, such as `silence`; `message` is the whole sentence.
    """

    kind: str
    message: str
    actor: str | None = None


class LateResult(ExecutionEvent, frozen=True, kw_only=True, tag="late_result"):
    """What a body reported after its execution had ended; it changes nothing else."""

    outcome: Literal["succeeded", "failed", "cancelled"]
    return_value: Any = None
    error_type: str | None = None
    error_message: str | None = None
    execution_time: float | None = None


class Hidden(ExecutionEvent, frozen=True, kw_only=True, tag="hidden"):
    """Somebody took the record of a run that is over out of the lists; the log is not cut."""

    actor: str | None = None


class JobEvent(Event, frozen=True, kw_only=True):
    """A fact about a job; its stream is `job:<job_id>`."""

    actor: str | None = None
    reason: str | None = None


class JobAdded(JobEvent, frozen=True, kw_only=True, tag="job_added"):
    """The job is known from now on; fires are due from `at` on. `definition` is what jobs.py writes of a Job."""

    definition: dict[str, Any]


class JobChanged(JobEvent, frozen=True, kw_only=True, tag="job_changed"):
    """Some keys of the definition have new values; `rescheduled` says that the fires are counted anew from `at` on."""

    changes: dict[str, Any]
    rescheduled: bool = False


class JobRemoved(JobEvent, frozen=True, kw_only=True, tag="job_removed"):
    """The job is gone; its executions stay."""


class JobPaused(JobEvent, frozen=True, kw_only=True, tag="job_paused"):
    """No fire of the job runs until it is resumed."""


class JobResumed(JobEvent, frozen=True, kw_only=True, tag="job_resumed"):
    """Fires run again; those that fell into the pause get their outcome now."""


class JobDescribed(JobEvent, frozen=True, kw_only=True, tag="job_described"):
    """An operator gave the job a name or a note of their own; None leaves what there is, an empty text takes it away.

    Neither is part of the definition, so both outlive whatever the definition becomes.
    """

    display_name: str | None = None
    note: str | None = None


class UnknownEvent(Event, frozen=True, kw_only=True, tag="unknown"):
    """An event of a type that this version does not know, kept as it is in `raw` and skipped by every fold."""

    raw: dict[str, Any]


Lifecycle = Scheduled | Started | Progress | Succeeded | Failed | Missed | Cancelled
JobFact = JobAdded | JobChanged | JobRemoved | JobPaused | JobResumed | JobDescribed
KnownEvent = Lifecycle | CancelRequested | Warned | LateResult | Hidden | JobFact

LIFECYCLE: tuple[type[Event], ...] = (Scheduled, Started, Progress, Succeeded, Failed, Missed, Cancelled)
JOB_EVENTS: tuple[type[Event], ...] = (JobAdded, JobChanged, JobRemoved, JobPaused, JobResumed, JobDescribed)
ALL_EVENTS: tuple[type[Event], ...] = (*LIFECYCLE, CancelRequested, Warned, LateResult, Hidden, *JOB_EVENTS)
EVENT_TYPES: dict[str, type[Event]] = {wire_name(event_type): event_type for event_type in ALL_EVENTS}


JOB_STREAM = "job:"


def job_stream(job_id: str) -> str:
    """Name the stream of a job's own facts."""
    return f"{JOB_STREAM}{job_id}"
