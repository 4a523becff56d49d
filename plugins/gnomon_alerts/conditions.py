"""Whether the conditions of alerts about a job are met: pure functions of its facts, its rules and the time."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from gnomon.domain.alert_events import Resolution
from gnomon.durations import Duration
from gnomon_alerts.job_facts import JobFacts, RunFacts, Streak
from gnomon_alerts.rules import Setting
from gnomon_alerts.watch import Watch

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
}
"""Why an alert of a kind ends; the others recover."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that is met. `opener` is what it began with: the id of the alert follows from it."""

    kind: str
    opener: str
    since: datetime
    last_at: datetime
    message: str
    count: int = 1
    first: str | None = None
    last: str | None = None

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
    times = "" if streak.count == 1 else f" {streak.count} times in a row"
    return Finding(
        kind=setting.kind,
        opener=streak.first,
        since=streak.first_at,
        last_at=streak.last_at,
        message=f"{verb}{times}: {streak.text}",
        count=streak.count,
        first=streak.first,
        last=streak.last,
    )


def _missed(job: JobFacts, setting: Setting, _watch: Watch, now: datetime) -> Finding | None:
    if not job.exists or job.is_paused:
        return None
    streaks = [
        streak
        for reason, streak in job.missing.items()
        if reason in setting.reasons and (reason != "downtime" or now >= streak.noted + SETTLE)
    ]
    count = sum(streak.count for streak in streaks)
    if not streaks or count < setting.after:
        return None
    first, last = min(streaks, key=lambda one: one.first_at), max(streaks, key=lambda one: one.noted)
    fires = "a fire" if count == 1 else f"{count} fires in a row"
    return Finding(
        kind=setting.kind,
        opener=first.first,
        since=first.first_at,
        last_at=last.last_at,
        message=f"missed {fires}: {last.text}",
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
    return _of_runs(late, limit, f"has not started {limit} after it was due", setting)


def _too_long(job: JobFacts, setting: Setting, _watch: Watch, now: datetime) -> Finding | None:
    limit = longest_usual(job, setting)
    if limit is None:
        return None
    begun = {one: run.started for one, run in _bodies(job).items() if run.started is not None}
    long = {one: started for one, started in begun.items() if now - started >= limit}
    usual = Duration(seconds=round(_p95(job.durations)))
    return _of_runs(long, limit, f"runs for longer than {_rounded(limit)}; 95 % take up to {usual}", setting)


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
    return _of_runs(silent, timedelta(), job.runs[next(iter(silent))].silent_text, setting)


def _of_runs(moments: Mapping[str, datetime], limit: timedelta, message: str, setting: Setting) -> Finding | None:
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
        message=message if not others else f"{len(moments)} runs: {message}",
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
    last = f"the last one was at {job.last_success:%Y-%m-%d %H:%M} UTC" if job.last_success else "there was none yet"
    return Finding(
        kind=setting.kind,
        opener=since.isoformat(),
        since=due,
        last_at=due,
        message=f"no success for {limit}: {last}",
    )


def _unscheduled(job: JobFacts, setting: Setting, _watch: Watch, _now: datetime) -> Finding | None:
    if not job.exists or not job.problem or job.paused_at is None:
        return None
    return Finding(
        kind=setting.kind,
        opener=job.paused_at.isoformat(),
        since=job.paused_at,
        last_at=job.paused_at,
        message=f"is not scheduled any more: {job.problem}",
    )


def _bodies(job: JobFacts) -> dict[str, RunFacts]:
    return {one: run for one, run in job.runs.items() if run.started is not None and not run.is_backfill}


def _p95(durations: list[float]) -> float:
    return sorted(durations)[math.ceil(0.95 * len(durations)) - 1]


def _rounded(span: timedelta) -> Duration:
    return Duration(seconds=round(span.total_seconds()))


_CONDITIONS: Final[dict[str, Callable[[JobFacts, Setting, Watch, datetime], Finding | None]]] = {
    "failed": _failed,
    "lost": _lost,
    "missed": _missed,
    "late_start": _late_start,
    "too_long": _too_long,
    "silent": _silent,
    "no_success": _no_success,
    "unscheduled": _unscheduled,
}
