"""Runs whose bodies begin elsewhere: what their runners report until then, and how they end if they never begin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from gnomon.domain import events
from gnomon.durations import LONGEST_DELAY
from gnomon.engine.active_run import ActiveRun
from gnomon.engine.journal import Journal
from gnomon.engine.queue_outages import QueueOutages
from gnomon.errors import DeposedError
from gnomon.logs import get_logger
from gnomon.ports import Clock
from gnomon.runners.base import Outcome, Placement
from gnomon.runners.step_declarations import declare_step
from gnomon.text import shorten, writable

log = get_logger("gnomon.engine.placed_run")

WORKER_LIMIT = 256
REASON_LIMIT = 1_000
"""Characters kept of what a runner reports."""


class PlacedRun(Placement):
    """The placement of one run. `due` is when the run could have started; `on_begun` is called once."""

    def __init__(
        self,
        active: ActiveRun,
        journal: Journal,
        clock: Clock,
        due: datetime,
        on_begun: Callable[[ActiveRun], None],
        queues: QueueOutages,
    ) -> None:
        self._active = active
        self._journal = journal
        self._clock = clock
        self._due = due
        self._on_begun = on_begun
        self._queues = queues

    def waits(self, reason: str | None) -> None:
        """Note why the body does not begin, which is recorded once for all runs of its queue; None: no longer."""
        active = self._active
        text = None if reason is None else shorten(writable(reason), REASON_LIMIT)
        if text != active.waits_because and not (active.has_begun or active.is_over):
            active.waits_because = text
            if text is not None:
                self._queues.note(active, text)

    def begun(self, worker: str, at: datetime, code: str | None = None) -> None:
        """Record that the body has begun, and the steps of its job; a second call changes nothing."""
        active, execution, now = self._active, self._active.execution, self._clock.now()
        if active.has_begun or active.is_over:
            return
        handed_over_at = execution.handed_over_at or now
        begun_at = min(max(at, handed_over_at), now)
        is_recorded = self._record(
            events.Started,
            execution.id,
            execution.job_id,
            at=begun_at,
            runner=active.runner.name,
            worker=shorten(writable(worker), WORKER_LIMIT),
            delay=max((begun_at - self._due).total_seconds(), 0.0),
            queued=(begun_at - handed_over_at).total_seconds(),
            code=shorten(writable(code), WORKER_LIMIT) if code else None,
        )
        if not is_recorded:
            return
        active.started_at = self._clock.monotonic() - (now - begun_at).total_seconds()
        active.context.last_sign_of_life = self._clock.monotonic()
        if active.job.steps:
            active.context.report({"steps": [declare_step(step) for step in active.job.steps]}, immediately=True)
        self._on_begun(active)

    def _record(self, event_type: type[events.ExecutionEvent], *ids: str, **facts: Any) -> bool:
        """Record a fact; False where the kernel has lost the log: the next one will hear of it."""
        try:
            self._journal.record(event_type, *ids, **facts)
        except DeposedError as exc:
            log.debug("a report about a run was not recorded", run=self._active.execution.id, problem=str(exc))
            return False
        return True


class Placements:
    """Places runs in the queues of their runners. `on_begun` is called once for each that begins."""

    def __init__(
        self, journal: Journal, clock: Clock, on_begun: Callable[[ActiveRun], None], queues: QueueOutages
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._on_begun = on_begun
        self._queues = queues

    def place(self, active: ActiveRun, due: datetime, grace: timedelta) -> None:
        """Set the placement of a run its placement: it was due then, and is to begin within `grace`."""
        active.placement = PlacedRun(active, self._journal, self._clock, due, self._on_begun, self._queues)
        active.begins_before = due + grace if grace < LONGEST_DELAY else None


def end_unbegun(active: ActiveRun, outcome: Outcome, journal: Journal) -> bool:
    """Record the end of a run that was withdrawn before its body began; False for every other end."""
    execution = active.execution
    if active.has_begun or active.ending is not None or not outcome.cancelled:
        return False
    if execution.cancel_requested:
        by, reason = execution.cancelled_by, active.cancel_reason
        journal.record(events.Cancelled, execution.id, execution.job_id, actor=by, reason=reason)
    elif active.is_expired:
        why = f": {active.waits_because}" if active.waits_because is not None else ""
        queue = f"queue {execution.queue!r}" if execution.queue else f"runner {execution.handed_to!r}"
        journal.record(
            events.Missed,
            execution.id,
            execution.job_id,
            scheduled_time=execution.scheduled_time,
            reason="capacity",
            detail=f"it waited in {queue} for longer than its grace{why}",
            job_name=execution.job_name,
            is_manual=execution.is_manual,
            labels=execution.labels,
        )
    else:
        message = "it was taken out of its queue before a worker began it"
        journal.record(events.Failed, execution.id, execution.job_id, reason="lost", error_message=message)
    return True
