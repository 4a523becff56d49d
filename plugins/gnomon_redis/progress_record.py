"""The record of a run that other programs read: one flat JSON object, folded from the run's events."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gnomon import Execution
from gnomon.domain.estimates import Timing
from gnomon.domain.execution import FINAL, Status
from gnomon.domain.progress import Step

LONGEST_ERROR = 2_000
"""Characters of an error message that are kept; the log has all of it."""


class ProgressRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of one run as it stood `at` that moment.

    `percent`, `remaining` and `estimated_total` are None if unknown; durations are in seconds, times are aware UTC.
    `version` counts the events of the run that are folded in; of two records the one with the greater (version, at) is
    newer.

    This is not `gnomon.wire.run_frame.RunFrame`: a frame is sent to a connected client, describes one event at a
    position of the log, and may be a `reset`. A record is stored under a key for programs that know neither Gnomon nor
    its log. It has no `type` and no `seq`, and contains when and where the run started.
    """

    execution_id: str
    job_id: str
    job_name: str
    status: Status
    version: int
    at: datetime
    scheduled_time: datetime
    started_at: datetime | None
    ended_at: datetime | None
    percent: float | None
    message: str | None
    step: str | None
    steps: tuple[Step, ...]
    current_item: str | None
    processed_items: int | None
    total_items: int | None
    elapsed: float
    estimated_total: float | None
    remaining: float | None
    reason: str | None
    error_message: str | None
    cancel_requested: bool
    is_manual: bool
    attempt: int
    retry_of: str | None
    node: str

    @property
    def is_over(self) -> bool:
        """Whether the run has its outcome; no further record follows."""
        return self.status in FINAL

    @property
    def age(self) -> tuple[int, datetime]:
        """A value that grows from one record of a run to the next."""
        return self.version, self.at


def record_of(execution: Execution, timing: Timing, at: datetime, ended_at: datetime | None) -> ProgressRecord:
    """Build the record of an execution; `ended_at` is None while it is not over."""
    view, error = execution.progress, execution.error_message
    return ProgressRecord(
        execution_id=execution.id,
        job_id=execution.job_id,
        job_name=execution.job_name,
        status=execution.status,
        version=execution.version,
        at=at,
        scheduled_time=execution.scheduled_time,
        started_at=execution.timestamp if execution.runner is not None else None,
        ended_at=ended_at,
        percent=view.percent,
        message=view.message,
        step=view.step,
        steps=view.steps,
        current_item=view.current_item,
        processed_items=view.processed_items,
        total_items=view.total_items,
        elapsed=round(timing.elapsed, 3),
        estimated_total=_milliseconds(timing.estimated_total),
        remaining=_milliseconds(timing.remaining),
        reason=execution.reason,
        error_message=error if error is None or len(error) <= LONGEST_ERROR else f"{error[:LONGEST_ERROR]}…",
        cancel_requested=execution.cancel_requested,
        is_manual=execution.is_manual,
        attempt=execution.attempt,
        retry_of=execution.retry_of,
        node=execution.node,
    )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


class Names:
    """The names of keys and channels; the tracker and its readers must use the same prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def execution(self, execution_id: str) -> str:
        """Return the key of a run's record, which is also the channel on which each new one is published."""
        return f"{self.prefix}{execution_id}"

    def stream(self, job_id: str) -> str:
        """Return the key of the stream with the newest records of a job's runs."""
        return f"{self.prefix}job:{job_id}"

    def ended(self, job_id: str) -> str:
        """Return the key of the sorted set of a job's ended runs whose records are kept, by the time they expire."""
        return f"{self.prefix}ended:{job_id}"

    def marker(self, log_id: str) -> str:
        """Return the key that tells a server that has the records of this log from an empty or an older one."""
        return f"{self.prefix}log:{log_id}"

    def live(self, job_id: str) -> str:
        """Return the key of the set of a job's runs that are not over."""
        return f"{self.prefix}live:{job_id}"


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ProgressRecord).decode
EXECUTION_STATUS = "execution_status"
"""The key of our status in a record whose `status` has the words of another tracker."""


def decode(text: bytes) -> ProgressRecord:
    """Parse a record, also one that was written in a dialect."""
    if EXECUTION_STATUS.encode() not in text:
        return _decode(text)
    fields = msgspec.json.decode(text)
    return msgspec.convert(fields | {"status": fields.get(EXECUTION_STATUS, fields["status"])}, ProgressRecord)
