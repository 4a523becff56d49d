"""The state machine of one execution: a pure fold over its events."""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, Literal

import msgspec

from gnomon.domain import events, progress
from gnomon.domain.events import Event
from gnomon.errors import TransitionError

Status = Literal["scheduled", "running", "success", "failed", "missed", "cancelled"]
STATUSES: Final[tuple[Status, ...]] = ("scheduled", "running", "success", "failed", "missed", "cancelled")
FINAL: Final = frozenset({"success", "failed", "missed", "cancelled"})


class Execution(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One run of a job, or one that did not take place, folded from its events.

    `timestamp` is the actual start; before that, and for a run that never started, the time of recording. Times are
    aware UTC, durations are in seconds. `version` is the number of events folded in. `imported_from` names the other
    scheduler that decided the run, or its records that the run was taken over from. `truncated`: it comes from a list
    that cuts long arguments, results and texts, and some of them have been cut. `attempt` counts the runs of one fire
    or request, `snoozes` those before this one that were snoozed; one that was has `snoozed_until`, the status
    `cancelled`, and in `snoozed_to` the id of the run that takes its place.
    """

    id: str
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
    labels: dict[str, str] = {}
    actor: str | None = None
    attempt: int = 1
    retry_of: str | None = None
    snoozes: int = 0
    triggered_by: str | None = None
    trigger_depth: int = 0
    not_before: datetime | None = None
    cause: events.Cause | None = None
    runner: str | None = None
    worker: str | None = None
    handed_to: str | None = None
    handed_over_at: datetime | None = None
    queue: str | None = None
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
    snoozed_until: datetime | None = None
    snoozed_to: str | None = None
    warning: str | None = None
    count: int = 1
    first: datetime | None = None
    last: datetime | None = None
    late_result: str | None = None
    hidden: bool = False
    imported_from: str | None = None
    truncated: bool = False
    progress: progress.ProgressView = progress.ProgressView()

    @property
    def is_over(self) -> bool:
        """Whether the run has its outcome, which is final."""
        return self.status in FINAL

    @property
    def has_started(self) -> bool:
        """Whether its body has begun, or will never begin."""
        return self.status != "scheduled"

    @property
    def is_fire(self) -> bool:
        """Whether this is the first run of a fire of the schedule: no manual run, no retry, not imported."""
        return not self.is_manual and self.attempt == 1 and self.imported_from is None

    @property
    def tries(self) -> int:
        """The number of attempts that count for `retry`: all but those that were snoozed."""
        return self.attempt - self.snoozes

    @property
    def is_snoozed(self) -> bool:
        """Whether the body has put the run off: it ended without a result, and another run takes its place."""
        return self.snoozed_until is not None

    def apply(self, event: Event) -> None:
        """Fold in one more event; raises TransitionError for an illegal one and then changes nothing."""
        if event.version != self.version + 1:
            raise TransitionError(event.stream, f"{self.status} at version {self.version}", event.type, event.version)
        step = _STEPS[self.status].get(type(event))
        if step is None:
            raise TransitionError(event.stream, self.status, event.type, event.version)
        step(self, event)
        self.version = event.version
        if step is not _hidden:  # it concerns lists only: the time of the end must stay
            self.updated_at = event.at


def begin(event: Event) -> Execution:
    """Return the execution that begins with the first event of its stream: scheduled, missed or imported."""
    if event.version == 1:
        if type(event) is events.Scheduled:
            return _scheduled(event)
        if type(event) is events.Missed:
            return _missed_at_once(event)
        if type(event) is events.Imported:
            return _imported(event)
    raise TransitionError(event.stream, "nothing", event.type, event.version)


def fold(history: Iterable[Event]) -> Execution:
    """Fold the events of one stream, in order of version, into an execution."""
    iterator = iter(history)
    execution = begin(next(iterator))
    for event in iterator:
        execution.apply(event)
    return execution


def execution_id(job_id: str, scheduled_time: datetime, attempt: int = 1) -> str:
    """Return the id of the execution of a fire: 24 hex characters, always the same for the same fire.

    4 bytes of scheduled time in seconds, as in a MongoDB ObjectId, then 8 bytes of BLAKE2b of (job, µs, attempt).
    """
    seconds, micros = _written(int(scheduled_time.timestamp()), scheduled_time.microsecond)
    return seconds + _hash(f"{job_id}{micros}{attempt}".encode())


@functools.lru_cache(maxsize=64)
def _written(seconds: int, microsecond: int) -> tuple[str, str]:
    # Jobs that are due at the same instant share it: formatting two numbers costs as much as the hash.
    return f"{seconds & 0xFFFFFFFF:08x}", f"\0{seconds * 1_000_000 + microsecond}\0"


def manual_execution_id(job_id: str, at: datetime, idempotency_key: str | None = None, actor: str | None = None) -> str:
    """Return the id of a manual run: random, or derived from the caller's key so that a repeated request makes one run.

    With a key the time is left out, because the repeated request comes later. A key belongs to its actor: two actors
    with one key make two runs, and one actor finds the run of a key whatever job it is asked for. Callers without an
    actor are code in the kernel's own process: there a key belongs to its job.
    """
    if idempotency_key is not None and actor is not None:
        return _written(0, 0)[0] + _hash(json.dumps([actor, idempotency_key]).encode())
    if idempotency_key is not None:
        return _written(0, 0)[0] + _hash(f"{job_id}\0key\0{idempotency_key}".encode())
    return _written(int(at.timestamp()), 0)[0] + _hash(secrets.token_bytes(16))


def later_execution_id(ended: Execution) -> str:
    """Return the id of the run after one that ended: from the time of a fire, from the first run of a manual one."""
    job_id = f"{ended.job_id}\0{ended.retry_of or ended.id}" if ended.is_manual else ended.job_id
    return execution_id(job_id, ended.scheduled_time, ended.attempt + 1)


def _hash(unique: bytes) -> str:
    return blake2b(unique, digest_size=8).hexdigest()


def _scheduled(event: events.Scheduled) -> Execution:
    return Execution(
        id=event.stream,
        job_id=event.job_id,
        job_name=event.job_name,
        status="scheduled",
        version=1,
        scheduled_time=event.scheduled_time,
        timestamp=event.at,
        updated_at=event.at,
        node=event.node,
        is_manual=event.is_manual,
        force=event.force,
        args=event.args,
        kwargs=event.kwargs,
        labels=event.labels,
        actor=event.actor,
        attempt=event.attempt,
        retry_of=event.retry_of,
        snoozes=event.snoozes,
        triggered_by=event.triggered_by,
        trigger_depth=event.trigger_depth,
        not_before=event.not_before,
        cause=event.cause,
        imported_from=event.source,
    )


def _missed_at_once(event: events.Missed) -> Execution:
    return Execution(
        id=event.stream,
        job_id=event.job_id,
        job_name=event.job_name,
        status="missed",
        version=1,
        scheduled_time=event.scheduled_time,
        timestamp=event.at,
        updated_at=event.at,
        node=event.node,
        is_manual=event.is_manual,
        labels=event.labels,
        actor=event.actor,
        triggered_by=event.triggered_by,
        reason=event.reason,
        detail=event.detail,
        count=event.count,
        first=event.first,
        last=event.last,
        imported_from=event.source,
    )


def _imported(event: events.Imported) -> Execution:
    view = progress.ProgressView(
        percent=event.percent,
        message=event.message,
        current_item=event.current_item,
        processed_items=event.processed_items,
        total_items=event.total_items,
    )
    return Execution(
        id=event.stream,
        job_id=event.job_id,
        job_name=event.job_name,
        status=event.status,
        version=1,
        scheduled_time=event.scheduled_time,
        timestamp=event.started_at,
        updated_at=event.ended_at,
        node=event.node,
        is_manual=event.is_manual,
        execution_time=event.execution_time,
        return_value=event.return_value,
        reason=event.reason,
        error_type=event.error_type,
        error_message=event.error_message,
        traceback=event.traceback,
        cancel_requested=event.cancel_requested,
        imported_from=event.source,
        progress=view,
    )


def _handed_over(execution: Execution, event: events.HandedOver) -> None:
    execution.handed_to = event.runner
    execution.handed_over_at = event.at
    execution.queue = event.queue


def _started(execution: Execution, event: events.Started) -> None:
    execution.status = "running"
    execution.timestamp = event.at
    execution.node = event.node
    execution.runner = event.runner
    execution.worker = event.worker
    execution.delay = event.delay


def _progress(execution: Execution, event: events.Progress) -> None:
    execution.progress = progress.advance(execution.progress, event)


def _succeeded(execution: Execution, event: events.Succeeded) -> None:
    execution.status = "success"
    execution.return_value = event.return_value
    execution.execution_time = event.execution_time
    execution.progress = progress.finish(execution.progress, succeeded=True, at=event.at)


def _failed(execution: Execution, event: events.Failed) -> None:
    execution.status = "failed"
    execution.reason = event.reason
    execution.error_type = event.error_type
    execution.error_message = event.error_message
    execution.traceback = event.traceback
    execution.execution_time = event.execution_time
    execution.progress = progress.finish(execution.progress, succeeded=False, at=event.at)


def _missed(execution: Execution, event: events.Missed) -> None:
    execution.status = "missed"
    execution.reason = event.reason
    execution.detail = event.detail


def _cancelled(execution: Execution, event: events.Cancelled) -> None:
    execution.status = "cancelled"
    execution.reason = event.reason
    execution.cancelled_by = event.actor or execution.cancelled_by
    execution.snoozed_until = event.snoozed_until
    execution.snoozed_to = event.snoozed_to
    execution.execution_time = event.execution_time
    execution.progress = progress.finish(execution.progress, succeeded=False, at=event.at)


def _cancel_requested(execution: Execution, event: events.CancelRequested) -> None:
    execution.cancel_requested = True
    execution.cancelled_by = event.actor


def _warned(execution: Execution, event: events.Warned) -> None:
    execution.warning = event.message


def _late_result(execution: Execution, event: events.LateResult) -> None:
    execution.late_result = event.outcome


def _hidden(execution: Execution, _event: events.Hidden) -> None:
    execution.hidden = True


def _nothing(execution: Execution, event: Event) -> None:
    """Skip an event that this version does not know."""


_Steps = dict[type[Event], Callable[[Execution, Any], None]]
_SCHEDULED: Final[_Steps] = {
    events.HandedOver: _handed_over,
    events.Started: _started,
    events.Warned: _warned,
    events.Missed: _missed,
    events.Cancelled: _cancelled,
    events.Failed: _failed,
    events.CancelRequested: _cancel_requested,
    events.UnknownEvent: _nothing,
}
_RUNNING: Final[_Steps] = {
    events.Progress: _progress,
    events.Warned: _warned,
    events.CancelRequested: _cancel_requested,
    events.Succeeded: _succeeded,
    events.Failed: _failed,
    events.Cancelled: _cancelled,
    events.UnknownEvent: _nothing,
}
_OVER: Final[_Steps] = {
    events.LateResult: _late_result,
    events.Hidden: _hidden,
    events.UnknownEvent: _nothing,
}
_STEPS: Final[dict[Status, _Steps]] = {
    "scheduled": _SCHEDULED,
    "running": _RUNNING,
    "success": _OVER,
    "failed": _OVER,
    "missed": _OVER,
    "cancelled": _OVER,
}
