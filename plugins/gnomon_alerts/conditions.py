"""Whether the conditions of alerts about a job are met: pure functions of its facts, its rules and the time."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from gnomon.domain.alert_events import Resolution
from gnomon.domain.statement import Statement, state
from gnomon.durations import Duration
from gnomon_alerts.job_facts import JobFacts, RunFacts, Streak
from gnomon_alerts.rules import Setting
from gnomon_alerts.watch import Watch
from gnomon_alerts.wording import words

ENOUGH_RUNS = 10
"""Successes from which on it is known how long a job usually takes."""
SETTLE = timedelta(minutes=1)
"""After a start, and for fires of a downtime, so much time passes before something counts: the latest one may run."""
LONGEST_SETTLE = timedelta(minutes=10)

WHY: Final[Mapping[str, Resolution]] = {
    "failed": "succeeded",
    "lost": "succeeded",
    "no_success": "succeeded",
    "missed": "ran",
    "late_start": "ran",
    "too_long": "ended",
    "silent": "ended",
    "lingering": "ended",
}
"""Why an alert of a kind ends; the others recover."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that is met. `opener` is what it began with: the id of the alert follows from it."""

    kind: str
    opener: str
    since: datetime
    last_at: datetime
    said: Statement
    count: int = 1
    first: str | None = None
    last: str | None = None

    @property
    def message(self) -> str:
        """The English sentence about it."""
        return words(self.said)

    def alert_id(self, rule: str, job_id: str, subject: str = "") -> str:
        """Return the id of the alert: the same in every process and after every restart."""
        text = f"{rule}\0{self.kind}\0{job_id}\0{subject}\0{self.opener}"
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def findings(job: JobFacts, settings: Mapping[str, Setting], watch: Watch, now: datetime) -> dict[str, Finding]:
    """Return the conditions of a job that are met now, by kind."""
    found = {}
    for kind, setting in settings.items():
        finding = _CONDITIONS[kind](job, setting, watch, now)
        if finding is not None:
            found[kind] = finding
    return found


def _failed(job: JobFacts, setting: Setting, _watch: Watch, _now: datetime) -> Finding | None:
    return _of_streak(job.failing, setting, "failed") if job.exists else None


def _lost(job: JobFacts, setting: Setting, _watch: Watch, _now: datetime) -> Finding | None:
    return _of_streak(job.lost, setting, "lost") if job.exists else None


def _of_streak(streak: Streak | None, setting: Setting, verb: str) -> Finding | None:
    if streak is None or streak.count < setting.after:
        return None
    code = verb if streak.count == 1 else f"{verb}_again"
    return Finding(
        kind=setting.kind,
        opener=streak.first,
        since=streak.first_at,
        last_at=streak.last_at,
        said=state(code, count=streak.count, text=streak.text),
        count=streak.count,
        first=streak.first,
        last=streak.last,
    )


def _missed(job: JobFacts, setting: Setting, _watch: Watch, now: datetime) -> Finding | None:
    if not job.exists or job.is_paused:
        return None
    streaks = [
        (streak, reason)
        for reason, streak in job.missing.items()
        if reason in setting.reasons and (reason != "downtime" or now >= streak.noted + SETTLE)
    ]
    count = sum(streak.count for streak, _ in streaks)
    if not streaks or count < setting.after:
        return None
    first, _ = min(streaks, key=lambda one: one[0].first_at)
    last, reason = max(streaks, key=lambda one: one[0].noted)
    code = "missed" if count == 1 else "missed_again"
    return Finding(
        kind=setting.kind,
        opener=first.first,
        since=first.first_at,
        last_at=last.last_at,
        said=state(code, count=count, text=last.text, reason=reason),
        count=count,
        first=first.first,
        last=last.last,
    )


def _late_start(job: JobFacts, setting: Setting, watch: Watch, now: datetime) -> Finding | None:
    limit = setting.limit or Duration()
    late = {
        one: max(run.due, watch.term_since or run.due)
        for one, run in job.runs.items()
        if run.started is None and not run.is_backfill
    }
    late = {one: due for one, due in late.items() if now - due >= limit}
    return _of_runs(late, limit, state("late_start", limit_s=limit.total_seconds()), setting)


def _too_long(job: JobFacts, setting: Setting, _watch: Watch, now: datetime) -> Finding | None:
    limit = longest_usual(job, setting)
    if limit is None:
        return None
    begun = {one: run.started for one, run in _bodies(job).items() if run.started is not None}
    long = {one: started for one, started in begun.items() if now - started >= limit}
    said = state("too_long", limit_s=round(limit.total_seconds()), usual_s=round(_p95(job.durations)))
    return _of_runs(long, limit, said, setting)


def longest_usual(job: JobFacts, setting: Setting) -> timedelta | None:
    """Return how long a run may take that is not longer than usual; None where too few runs have succeeded."""
    if len(job.durations) < ENOUGH_RUNS:
        return None
    usual = timedelta(seconds=_p95(job.durations))
    return max(usual * setting.factor, usual + (setting.limit or Duration()))


def _silent(job: JobFacts, setting: Setting, _watch: Watch, _now: datetime) -> Finding | None:
    silent = {one: run.silent_at for one, run in job.runs.items() if run.silent_at is not None}
    if not silent:
        return None
    text = job.runs[next(iter(silent))].silent_text
    return _of_runs(silent, timedelta(), state("silent", text=text), setting)


def _lingering(job: JobFacts, setting: Setting, _watch: Watch, now: datetime) -> Finding | None:
    limit = setting.limit or Duration()
    left = {one: since for one, since in job.lingering.items() if now - since >= limit}
    return _of_runs(left, limit, state("lingering", limit_s=limit.total_seconds()), setting)


def _of_runs(moments: Mapping[str, datetime], limit: timedelta, said: Statement, setting: Setting) -> Finding | None:
    """Return a finding about runs, by the moments from which each has `limit`."""
    if not moments:
        return None
    first, *others = sorted(moments, key=lambda one: (moments[one], one))
    last = others[-1] if others else first
    return Finding(
        kind=setting.kind,
        opener=first,
        since=moments[first] + limit,
        last_at=moments[last] + limit,
        said=said if not others else state("several", count=len(moments), what=said),
        count=len(moments),
        first=first,
        last=last,
    )


def _no_success(job: JobFacts, setting: Setting, watch: Watch, now: datetime) -> Finding | None:
    limit, since = setting.limit, job.watched_since
    if limit is None or since is None or not job.exists or job.is_paused or watch.held_since is not None:
        return None
    since = max(filter(None, (since, job.last_success, watch.released)))
    due = since + limit
    settled = (watch.term_since or since) + min(limit, LONGEST_SETTLE)
    if now < max(due, settled):
        return None
    code = "no_success" if job.last_success else "no_success_yet"
    return Finding(
        kind=setting.kind,
        opener=since.isoformat(),
        since=due,
        last_at=due,
        said=state(code, limit_s=limit.total_seconds(), last_at=job.last_success),
    )


def _unscheduled(job: JobFacts, setting: Setting, _watch: Watch, _now: datetime) -> Finding | None:
    if not job.exists or not job.problem or job.paused_at is None:
        return None
    return Finding(
        kind=setting.kind,
        opener=job.paused_at.isoformat(),
        since=job.paused_at,
        last_at=job.paused_at,
        said=state("unscheduled", text=job.problem),
    )


def _bodies(job: JobFacts) -> dict[str, RunFacts]:
    return {one: run for one, run in job.runs.items() if run.started is not None and not run.is_backfill}


def _p95(durations: list[float]) -> float:
    return sorted(durations)[math.ceil(0.95 * len(durations)) - 1]


_CONDITIONS: Final[dict[str, Callable[[JobFacts, Setting, Watch, datetime], Finding | None]]] = {
    "failed": _failed,
    "lost": _lost,
    "missed": _missed,
    "late_start": _late_start,
    "too_long": _too_long,
    "silent": _silent,
    "lingering": _lingering,
    "no_success": _no_success,
    "unscheduled": _unscheduled,
}
