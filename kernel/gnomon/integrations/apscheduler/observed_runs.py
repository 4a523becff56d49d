"""The runs of a scheduler, put together from its events and from the records of its executors. On the kernel's loop."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from gnomon.engine.attached_schedulers import AttachedScheduler

Key = tuple[str, datetime]


class ObservedRun(msgspec.Struct):
    """A run of which something is known. `at` values are on the clock that measures durations."""

    execution_id: str
    submission: int = 0
    submitted_at: float | None = None
    begun_at: float | None = None
    done_at: float | None = None
    is_over: bool = False


class ObservedRuns:
    """Finds the run that an event belongs to, and records what the event says about it.

    The events of a run come from two threads in any order: APScheduler says that it has submitted a run only after it
    has submitted all that are due, when a short body may have ended. A run is forgotten when it is over and submitted.
    """

    def __init__(self, attached: AttachedScheduler) -> None:
        self._attached = attached
        self._runs: dict[Key, list[ObservedRun]] = {}
        self._submissions = 0

    def submitted(self, job_id: str, name: str, times: list[datetime], at: float) -> None:
        """Record runs that an executor has accepted: it runs them one after another."""
        self._submissions += 1
        for time in times:
            run = self._first(job_id, time, lambda run: run.submitted_at is None) or self._new(job_id, name, time)
            run.submission, run.submitted_at = self._submissions, at
            self._settle(job_id, time, run)

    def begun(self, job_id: str, name: str, time: datetime, worker: str, moment: tuple[datetime, float]) -> None:
        """Record that a body has begun at a moment: its wall time, and on the clock for durations."""
        run = self._first(job_id, time, lambda run: run.begun_at is None and not run.is_over)
        run = run or self._new(job_id, name, time)
        run.begun_at = moment[1]
        self._attached.started(run.execution_id, worker, max((moment[0] - time).total_seconds(), 0.0))

    def done(self, job_id: str, time: datetime, at: float) -> None:
        """Note when a body has ended: the event with the result comes after the last of several run times."""
        if (run := self._first(job_id, time, lambda run: run.begun_at is not None and run.done_at is None)) is not None:
            run.done_at = at

    def ended(self, job_id: str, name: str, time: datetime, at: float, ending: dict[str, Any]) -> None:
        """Record the end of a run: `ending` has its return value, or the fields of its failure."""
        run = self._first(job_id, time, lambda run: run.begun_at is not None and not run.is_over)
        run = run or self._first(job_id, time, lambda run: not run.is_over) or self._new(job_id, name, time)
        if run.begun_at is None:  # it ran in a process pool
            run.begun_at = run.submitted_at if run.submitted_at is not None else at
            self._attached.started(run.execution_id, "", 0.0)
        spent = max((run.done_at if run.done_at is not None else at) - run.begun_at, 0.0)
        if "return_value" in ending:
            self._attached.succeeded(run.execution_id, ending["return_value"], spent)
        else:
            self._attached.failed(run.execution_id, spent, **ending)
        run.is_over = True
        self._settle(job_id, time, run)

    def missed(self, job_id: str, name: str, time: datetime, detail: str) -> None:
        """Record a run that was too late when its turn came."""
        run = self._first(job_id, time, lambda run: run.begun_at is None and not run.is_over)
        identity = run.execution_id if run is not None else None
        self._attached.missed(job_id, name, _utc(time), "late", detail, identity)
        if run is None:  # its submission is still to come
            run = ObservedRun("")
            self._runs.setdefault((job_id, time), []).append(run)
        run.is_over = True
        self._settle(job_id, time, run)

    def refused(self, job_id: str, name: str, times: list[datetime], detail: str) -> None:
        """Record runs that were not submitted because too many of the job were running."""
        for time in times:
            self._attached.missed(job_id, name, _utc(time), "overlap", detail)

    def lost(self, job_id: str, error: dict[str, Any]) -> None:
        """Record the failure of the oldest submission of a job, whose executor does not say more."""
        of_job = [(time, run) for (owner, time), runs in self._runs.items() if owner == job_id for run in runs]
        unfinished = [(time, run) for time, run in of_job if not run.is_over]
        oldest = min((run.submission for _, run in unfinished), default=0)
        for time, run in unfinished:
            if run.submission == oldest:
                self._attached.failed(run.execution_id, **error)
                run.is_over = True
                self._settle(job_id, time, run)

    def _first(self, job_id: str, time: datetime, is_wanted: Any) -> ObservedRun | None:
        return next(filter(is_wanted, self._runs.get((job_id, time), ())), None)

    def _new(self, job_id: str, name: str, time: datetime) -> ObservedRun:
        run = ObservedRun(self._attached.scheduled(job_id, name, _utc(time)))
        self._runs.setdefault((job_id, time), []).append(run)
        return run

    def _settle(self, job_id: str, time: datetime, run: ObservedRun) -> None:
        if run.is_over and run.submitted_at is not None:
            runs = self._runs[job_id, time]
            runs.remove(run)
            if not runs:
                del self._runs[job_id, time]


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC)
