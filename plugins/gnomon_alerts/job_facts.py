"""What the log says about a job, as far as alerts need it: a fold, the same whatever the rules are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from gnomon.domain.events import (
    Cancelled,
    CancelRequested,
    Event,
    Failed,
    JobAdded,
    JobChanged,
    JobPaused,
    JobRemoved,
    JobResumed,
    Missed,
    Progress,
    Scheduled,
    Started,
    Succeeded,
    Warned,
)
from gnomon.text import shorten_line

LOST: Final = frozenset({"zombie", "lost", "killed"})
"""Failures of which the body did not tell: another kind of alert than its own failures."""
RETRIED: Final = LOST | {"exception", "timeout", "silence"}
"""Failures after which a job with `retry` runs again; see `gnomon.Retry`."""
MOST_DURATIONS = 100
"""Durations of the latest successes, from which the usual one is computed."""
MOST_TEXT = 300
RETRY_LIMIT = timedelta(minutes=1)
"""How long a failure waits for its retry to be recorded; after that it counts."""


class Streak(msgspec.Struct):
    """Something that has happened `count` times in a row, between two runs; `noted` is the time of its newest event."""

    count: int
    first: str
    first_at: datetime
    last: str
    last_at: datetime
    noted: datetime
    text: str


class Failure(msgspec.Struct):
    """A failed attempt whose retry is expected."""

    at: datetime
    reason: str
    text: str


class RunFacts(msgspec.Struct):
    """A run that has not ended. `due` is when it should begin; `silent_at` is the time of the newest warning."""

    due: datetime
    tries: int = 1
    snoozes: int = 0
    is_backfill: bool = False
    is_asked_to_stop: bool = False
    started: datetime | None = None
    silent_at: datetime | None = None
    silent_text: str = ""


class JobFacts(msgspec.Struct):
    """A job and its runs. `watched_since` is when it was added, or resumed; `option` is its key `alerts`.

    `missing` are the fires that did not run since the last run, by reason. `lingering` is not from the log: the runs
    that have ended and whose code goes on, with the time since which the kernel that leads has seen that.
    """

    exists: bool = False
    tags: list[str] = []
    option: Any = True
    attempts: int = 1
    catch_up: str = "latest"
    has_end: bool = False
    is_paused: bool = False
    paused_at: datetime | None = None
    problem: str | None = None
    watched_since: datetime | None = None
    last_success: datetime | None = None
    failing: Streak | None = None
    lost: Streak | None = None
    missing: dict[str, Streak] = {}
    awaiting: dict[str, Failure] = {}
    durations: list[float] = []
    runs: dict[str, RunFacts] = {}
    lingering: dict[str, datetime] = {}

    @property
    def is_calm(self) -> bool:
        """Whether nothing has happened that an alert could be about, besides the time that runs take."""
        facts = (self.failing, self.lost, self.missing, self.problem, self.awaiting, self.lingering)
        return not any(facts) and not any(run.silent_at for run in self.runs.values())

    def confirm_failures(self, now: datetime) -> bool:
        """Count failures whose retry did not come; return whether there was one."""
        late = [one for one, failure in self.awaiting.items() if failure.at + RETRY_LIMIT <= now]
        for execution_id in late:
            _count_failure(self, execution_id, self.awaiting.pop(execution_id))
        return bool(late)

    def dismiss(self, kind: str) -> None:
        """Forget what an operator has resolved."""
        match kind:
            case "failed":
                self.failing = None
            case "lost":
                self.lost = None
            case "missed":
                self.missing.clear()


def _longer(streak: Streak | None, execution_id: str, at: datetime, text: str) -> Streak:
    """Return a streak with one more."""
    if streak is None:
        return Streak(1, execution_id, at, execution_id, at, at, text)
    return msgspec.structs.replace(streak, count=streak.count + 1, last=execution_id, last_at=at, noted=at, text=text)


def _define(job: JobFacts, definition: dict[str, Any]) -> None:
    if "tags" in definition:
        job.tags = list(definition["tags"] or [])
    if "options" in definition:
        job.option = (definition["options"] or {}).get("alerts", True)
    if "retry" in definition:
        job.attempts = int((definition["retry"] or {"attempts": 1}).get("attempts", 3))
    if "catch_up" in definition:
        job.catch_up = definition["catch_up"] or "latest"
    if not {"at", "end"}.isdisjoint(definition):
        job.has_end = bool(definition.get("at") or definition.get("end"))


def _added(job: JobFacts, event: JobAdded) -> None:
    job.tags, job.option, job.attempts, job.catch_up, job.has_end = [], True, 1, "latest", False
    _define(job, event.definition)
    job.exists, job.watched_since, job.problem = True, event.at, None
    job.is_paused = bool(event.definition.get("paused", False))


def _changed(job: JobFacts, event: JobChanged) -> None:
    _define(job, event.changes)
    if event.rescheduled:
        job.watched_since = event.at


def _removed(job: JobFacts, _event: JobRemoved) -> None:
    job.exists = False
    job.failing = job.lost = job.problem = None
    job.awaiting.clear()
    job.missing.clear()


def _paused(job: JobFacts, event: JobPaused) -> None:
    job.is_paused, job.paused_at, job.problem = True, event.at, event.problem


def _resumed(job: JobFacts, event: JobResumed) -> None:
    job.is_paused, job.problem, job.watched_since = False, None, event.at


def _scheduled(job: JobFacts, event: Scheduled) -> None:
    due = max(event.at, event.not_before or event.at)
    if event.retry_of is not None:
        job.awaiting.pop(event.retry_of, None)
    job.runs[event.stream] = RunFacts(
        due, event.attempt - event.snoozes, event.snoozes, is_backfill=event.cause == "backfill"
    )


def _started(job: JobFacts, event: Started) -> None:
    if (run := job.runs.get(event.stream)) is not None:
        run.started = event.at
        if not run.is_backfill:
            job.missing.clear()


def _progress(job: JobFacts, event: Progress) -> None:
    if (run := job.runs.get(event.stream)) is not None:
        run.silent_at = None


def _succeeded(job: JobFacts, event: Succeeded) -> None:
    run = job.runs.pop(event.stream, None)
    if run is not None and run.is_backfill:
        return
    job.failing = job.lost = None
    job.last_success = event.at
    job.durations.append(round(event.execution_time, 3))
    if len(job.durations) > MOST_DURATIONS:
        del job.durations[0]


def _failed(job: JobFacts, event: Failed) -> None:
    run = job.runs.pop(event.stream, None)
    if run is not None and run.is_backfill:
        return
    error = ": ".join(filter(None, (event.error_type, (event.error_message or "").strip())))
    failure = Failure(event.at, event.reason, shorten_line(error or event.reason, MOST_TEXT))
    will_retry = run is not None and event.reason in RETRIED and not run.is_asked_to_stop and run.tries < job.attempts
    if will_retry:
        job.awaiting[event.stream] = failure
    else:
        _count_failure(job, event.stream, failure)


def _count_failure(job: JobFacts, execution_id: str, failure: Failure) -> None:
    if failure.reason in LOST:
        job.lost = _longer(job.lost, execution_id, failure.at, failure.text)
    else:
        job.failing = _longer(job.failing, execution_id, failure.at, failure.text)


def _cancelled(job: JobFacts, event: Cancelled) -> None:
    job.runs.pop(event.stream, None)


def _asked_to_stop(job: JobFacts, event: CancelRequested) -> None:
    if (run := job.runs.get(event.stream)) is not None:
        run.is_asked_to_stop = True


def _warned(job: JobFacts, event: Warned) -> None:
    if event.kind == "silence" and (run := job.runs.get(event.stream)) is not None:
        run.silent_at, run.silent_text = event.at, shorten_line(event.message, MOST_TEXT)


def _missed(job: JobFacts, event: Missed) -> None:
    run = job.runs.pop(event.stream, None)
    if event.is_manual or (run is not None and run.is_backfill):
        return
    text = shorten_line(event.detail or event.reason, MOST_TEXT)
    before = job.missing.get(event.reason)
    job.missing[event.reason] = Streak(
        event.count + (before.count if before is not None else 0),
        before.first if before is not None else event.stream,
        before.first_at if before is not None else event.first_fire,
        event.stream,
        event.last_fire,
        event.at,
        text,
    )


STEPS: Final[dict[type[Event], Callable[[JobFacts, Any], None]]] = {
    JobAdded: _added,
    JobChanged: _changed,
    JobRemoved: _removed,
    JobPaused: _paused,
    JobResumed: _resumed,
    Scheduled: _scheduled,
    Started: _started,
    Progress: _progress,
    Succeeded: _succeeded,
    Failed: _failed,
    Cancelled: _cancelled,
    CancelRequested: _asked_to_stop,
    Warned: _warned,
    Missed: _missed,
}
DEFINING: Final = frozenset({JobAdded, JobChanged, JobRemoved})
"""Events after which other rules may count for a job."""
