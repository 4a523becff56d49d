"""How well the time left was estimated: each successful run against the ranges that were in force for it.

Two ranges of each run are checked, by the formula that every answer uses (`gnomon.domain.eta`): the one at its start,
and the one at its first report of at least half. What a run needed is known when it succeeds; a run that fails, or was
asked to stop, says nothing about a time of success.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from gnomon.domain.estimates import TYPICAL_RUNS
from gnomon.domain.eta import Eta, PastRun, estimate_rest
from gnomon.domain.events import (
    Cancelled,
    CancelRequested,
    Event,
    Failed,
    Imported,
    Missed,
    Progress,
    Started,
    Succeeded,
)
from gnomon.domain.progress import NO_PROGRESS, ProgressView, advance, finish
from gnomon_stats.job_fold import micros_of

HALF_PERCENT: Final = 50.0
TOLERANCE: Final = timedelta(seconds=0.5)
"""A run counts as inside that ends this much before or after the range: ranges are shown in whole seconds."""


class Accuracy(msgspec.Struct, array_like=True):
    """The runs with a range, and how many of them ended inside, before (`early`) and after it (`late`).

    `error_micros` sums the distances from the middle of the range.
    """

    runs: int = 0
    inside: int = 0
    early: int = 0
    late: int = 0
    error_micros: int = 0

    def check(self, eta: Eta, ended: datetime) -> None:
        """Count a run that ended at that time."""
        rest, low, high = ended - eta.at, timedelta(seconds=eta.low), timedelta(seconds=eta.high)
        self.runs += 1
        if rest < low - TOLERANCE:
            self.early += 1
        elif rest > high + TOLERANCE:
            self.late += 1
        else:
            self.inside += 1
        self.error_micros += micros_of(abs(rest / timedelta(seconds=1) - eta.middle))


class OpenEta(msgspec.Struct):
    """A run that has begun: its progress, and the ranges that will be checked."""

    begun: datetime
    view: ProgressView = NO_PROGRESS
    start: Eta | None = None
    halfway: Eta | None = None
    is_stopped: bool = False


class JobEtas(msgspec.Struct):
    """The newest successes of a job, its runs of now, and how well their ends were estimated."""

    past: list[PastRun] = []
    open: dict[str, OpenEta] = {}
    start: Accuracy = msgspec.field(default_factory=Accuracy)
    halfway: Accuracy = msgspec.field(default_factory=Accuracy)

    def remember(self, run: PastRun) -> None:
        """Add a success; only the newest ones count for the next estimate."""
        self.past = [*self.past[-TYPICAL_RUNS + 1 :], run]


class EtaFold(msgspec.Struct):
    """The accuracy of estimates of each job, folded up to `position`."""

    position: int = 0
    jobs: dict[str, JobEtas] = {}

    def count(self, event: Event) -> None:
        """Count an event of a run."""
        step = _STEPS.get(type(event))
        if step is None:
            return
        if (job := self.jobs.get(event.job_id)) is None:
            job = self.jobs[event.job_id] = JobEtas()
        step(job, event)


def _started(job: JobEtas, event: Started) -> None:
    job.open[event.stream] = OpenEta(event.at, start=estimate_rest(NO_PROGRESS, 0.0, job.past, event.at))


def _progress(job: JobEtas, event: Progress) -> None:
    run = job.open.get(event.stream)
    if run is None:
        return
    before, run.view = run.view.percent or 0.0, advance(run.view, event)
    if before < HALF_PERCENT <= (run.view.percent or 0.0) and not run.is_stopped:
        elapsed = max((event.at - run.begun) / timedelta(seconds=1), 0.0)
        run.halfway = estimate_rest(run.view, elapsed, job.past, event.at)


def _succeeded(job: JobEtas, event: Succeeded) -> None:
    run = job.open.pop(event.stream, None)
    if run is None:
        return
    for accuracy, eta in ((job.start, run.start), (job.halfway, run.halfway)):
        if eta is not None:
            accuracy.check(eta, event.at)
    steps = {
        step.name: (step.ended_at - step.started_at) / timedelta(seconds=1)
        for step in finish(run.view, succeeded=True, at=event.at).steps
        if step.status == "completed" and step.started_at is not None and step.ended_at is not None
    }
    job.remember(PastRun(event.execution_time, steps))


def _stopped(job: JobEtas, event: CancelRequested) -> None:
    if (run := job.open.get(event.stream)) is not None:
        run.start, run.halfway, run.is_stopped = None, None, True


def _ended(job: JobEtas, event: Event) -> None:
    job.open.pop(event.stream, None)


def _imported(job: JobEtas, event: Imported) -> None:
    if event.status == "success" and event.execution_time is not None:
        job.remember(PastRun(event.execution_time))


_STEPS: Final[dict[type[Event], Callable[[JobEtas, Any], None]]] = {
    Started: _started,
    Progress: _progress,
    Succeeded: _succeeded,
    CancelRequested: _stopped,
    Failed: _ended,
    Cancelled: _ended,
    Missed: _ended,
    Imported: _imported,
}
