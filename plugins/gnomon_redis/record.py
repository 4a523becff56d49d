"""What other programs read of a run: one flat JSON object, folded from the run's events."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gnomon import Execution
from gnomon.domain.execution import FINAL, Status
from gnomon.domain.progress import Step, Timing

LONGEST_TEXT = 2_000
"""Characters of an error that are shown; the log has it whole."""


class ProgressRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of one run as it stood `at` that moment.

    `percent`, `remaining` and `estimated_total` are None where nobody knows; durations are seconds, times aware UTC.
    `version` counts the events of the run that are folded in, so that (version, at) tells the newer of two records.

    This is not `gnomon.wire.run_frame.RunFrame`: a frame says what has just happened at a position of the log to
    somebody who is connected, and may end a following with `reset`. A record lies in a key, where programs
    find it that know neither Gnomon nor its log. So it has no `type` and no `seq`, but says by itself when and where
    the run began.
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
        """Whether the run has its outcome; nothing follows."""
        return self.status in FINAL

    @property
    def age(self) -> tuple[int, datetime]:
        """What grows from one record of a run to the next."""
        return self.version, self.at


def record_of(execution: Execution, timing: Timing, at: datetime, ended_at: datetime | None) -> ProgressRecord:
    """Fold what is shown of an execution; `ended_at` is None while it is not over."""
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
        error_message=error if error is None or len(error) <= LONGEST_TEXT else f"{error[:LONGEST_TEXT]}…",
        cancel_requested=execution.cancel_requested,
        is_manual=execution.is_manual,
        attempt=execution.attempt,
        retry_of=execution.retry_of,
        node=execution.node,
    )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


class Names:
    """What the keys and channels are called; the writer and the readers must have the same prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def execution(self, execution_id: str) -> str:
        """Name the key of a run's record, and the channel on which each new one is published."""
        return f"{self.prefix}{execution_id}"

    def stream(self, job_id: str) -> str:
        """Name the stream with the newest records of all runs of a job."""
        return f"{self.prefix}job:{job_id}"

    def live(self, job_id: str) -> str:
        """Name the set of the runs of a job that are not over."""
        return f"{self.prefix}live:{job_id}"


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(ProgressRecord).decode
