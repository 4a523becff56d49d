"""The frames of `/ws/progress`: each holds the whole state of a run."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

import msgspec

from gnomon.domain.estimates import Timing
from gnomon.domain.eta import Eta
from gnomon.domain.execution import Execution, Status
from gnomon.domain.progress import ProgressView, Step

FrameType = Literal[
    "snapshot", "scheduled", "started", "progress", "succeeded", "failed", "missed", "cancelled", "reset", "heartbeat"
]


class RunFrame(msgspec.Struct, kw_only=True):
    """The state of a run at position `seq` of the log. `elapsed` and `remaining` are seconds, as of `at`.

    A `snapshot` is the present state, the other types report what has just happened. The snapshot of a job without a
    run has no execution_id. After a `reset` discard every earlier frame: snapshots of the present follow. `log` is the
    identity of the log, in snapshots and resets. `remaining` is the middle of `eta`, which has the range.
    """

    type: FrameType
    seq: int
    execution_id: str | None = None
    job_id: str | None = None
    status: Status | None = None
    progress: float | None = None
    message: str | None = None
    step: str | None = None
    steps: tuple[Step, ...] = ()
    current_item: str | None = None
    processed_items: int | None = None
    total_items: int | None = None
    elapsed: float | None = None
    remaining: float | None = None
    eta: Eta | None = None
    at: datetime
    cancel_requested: bool = False
    reason: str | None = None
    error_message: str | None = None
    log: str | None = None

    @classmethod
    def of(cls, execution: Execution, frame_type: FrameType, seq: int, at: datetime, timing: Timing) -> Self:
        """Make the frame with the state of a run."""
        view = execution.progress
        return cls(
            type=frame_type,
            seq=seq,
            execution_id=execution.id,
            job_id=execution.job_id,
            status=execution.status,
            progress=view.percent,
            message=view.message,
            step=view.step,
            steps=view.steps,
            current_item=view.current_item,
            processed_items=view.processed_items,
            total_items=view.total_items,
            elapsed=timing.elapsed,
            remaining=timing.remaining,
            eta=timing.eta,
            at=at,
            cancel_requested=execution.cancel_requested,
            reason=execution.reason,
            error_message=execution.error_message,
        )

    @property
    def view(self) -> ProgressView:
        """The progress of the run, as the kernel folds it."""
        return ProgressView(
            percent=self.progress,
            message=self.message,
            step=self.step,
            current_item=self.current_item,
            processed_items=self.processed_items,
            total_items=self.total_items,
            steps=self.steps,
        )

    @property
    def timing(self) -> Timing:
        """The elapsed and the expected time of the run."""
        total = None if self.remaining is None else (self.elapsed or 0.0) + self.remaining
        return Timing(self.elapsed or 0.0, total, self.remaining, self.eta)
