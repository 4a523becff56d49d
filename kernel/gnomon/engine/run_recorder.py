"""Records the outcomes of runs whose bodies have started: their warnings, their ends, and results that come later."""

from __future__ import annotations

from typing import Any

from gnomon.domain import events
from gnomon.engine.active_run import ActiveRun, Ending
from gnomon.engine.failure_log import log_failure
from gnomon.engine.journal import Journal
from gnomon.engine.snoozes import snooze_facts
from gnomon.ports import Clock
from gnomon.runners.base import Outcome
from gnomon.runners.step_declarations import TEXT_LIMIT
from gnomon.text import shorten


class RunRecorder:
    """Writes the events of runs; every method may raise DeposedError."""

    def __init__(self, journal: Journal, clock: Clock, *, log_failures: bool = True) -> None:
        self._journal = journal
        self._clock = clock
        self._log_failures = log_failures

    def end(self, active: ActiveRun, outcome: Outcome) -> None:
        """Record the end of a run by the outcome of its body, and by its `ending`, which overrules success."""
        execution, spent = active.execution, round(outcome.execution_time, 6)
        if active.ending is not None:
            self.failed(active, active.ending, outcome)
        elif outcome.is_success:
            self._journal.add(
                events.Succeeded(
                    stream=execution.id,
                    version=execution.version + 1,
                    at=self._clock.now(),
                    node=self._journal.node,
                    job_id=active.job.id,
                    return_value=outcome.value,
                    execution_time=spent,
                )
            )
        elif outcome.cancelled and execution.cancel_requested:
            self._journal.record(
                events.Cancelled,
                execution.id,
                active.job.id,
                actor=execution.cancelled_by,
                reason=active.cancel_reason,
                execution_time=spent,
            )
        elif outcome.snooze is not None:
            self._journal.record(
                events.Cancelled,
                execution.id,
                active.job.id,
                execution_time=spent,
                **snooze_facts(execution, outcome.snooze, self._clock.now()),
            )
        else:
            self._journal.record(
                events.Failed,
                execution.id,
                active.job.id,
                reason=outcome.reason or ("killed" if outcome.killed else "exception"),
                error_type=outcome.error_type,
                error_message=outcome.error_message,
                traceback=outcome.traceback,
                execution_time=spent,
            )
            self._log(active, outcome)

    def failed(self, active: ActiveRun, ending: Ending, outcome: Outcome | None = None) -> None:
        """Record that the kernel ends a run; `outcome` is that of its body, if it has ended."""
        self._journal.record(
            events.Failed,
            active.execution.id,
            active.job.id,
            reason=ending.reason,
            error_type=outcome.error_type if outcome is not None and not outcome.cancelled else None,
            error_message=ending.message,
            traceback=outcome.traceback if outcome is not None else None,
            execution_time=round(self._clock.monotonic() - active.started_at, 6),
            actor=ending.actor,
        )
        self._log(active, outcome)

    def _log(self, active: ActiveRun, outcome: Outcome | None) -> None:
        if self._log_failures:
            log_failure(active.execution, active.job.retry.attempts, outcome)

    def late(self, active: ActiveRun, outcome: Outcome) -> None:
        """Record the outcome of a body that finished after its run had ended."""
        self._journal.record(events.LateResult, active.execution.id, active.job.id, **late_facts(outcome))

    def warned(
        self, active: ActiveRun, kind: str, message: str, actor: str | None = None, seconds: float | None = None
    ) -> None:
        """Record a warning about a run; the run continues."""
        self._journal.record(
            events.Warned,
            active.execution.id,
            active.job.id,
            kind=kind,
            message=shorten(message, TEXT_LIMIT),
            actor=actor,
            seconds=seconds,
        )


def late_facts(outcome: Outcome) -> dict[str, Any]:
    """Return the fields of a `late_result` about an outcome."""
    return {
        "outcome": "cancelled" if outcome.cancelled else "succeeded" if outcome.is_success else "failed",
        "return_value": outcome.value,
        "error_type": outcome.error_type,
        "error_message": outcome.error_message,
        "execution_time": round(outcome.execution_time, 6),
    }
