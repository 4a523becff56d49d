"""The statistics as people and programs see them: the JSON of the command line and of REST."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from gnomon.stores.microseconds import from_micros
from gnomon.wire.statistics import (
    Day,
    EtaAccuracy,
    EtaChecks,
    Hour,
    JobStatistics,
    LabelName,
    LabelNames,
    LabelStatistics,
    LabelValueStatistics,
    LastCounted,
    Streak,
)
from gnomon_stats import job_fold
from gnomon_stats.eta_fold import Accuracy, JobEtas
from gnomon_stats.fold import Statistics
from gnomon_stats.histogram import ERROR, percentile
from gnomon_stats.job_fold import HOUR_MICROS, JobFold, LastRun
from gnomon_stats.label_fold import MOST_VALUES, ValueFolds
from gnomon_stats.series import Tally


def job_statistics(statistics: Statistics, job_id: str) -> JobStatistics:
    """Return the statistics of one job; zeros where the log has no execution of it."""
    job = statistics.jobs.get(job_id) or JobFold()
    by_hour = [_hour(row.period, row.tally) for row in job.hours]
    accuracy = _eta_accuracy(statistics.etas.jobs.get(job_id))
    return JobStatistics(job_id=job_id, by_hour=by_hour, eta_accuracy=accuracy, **_common(job))


def _eta_accuracy(job: JobEtas | None) -> EtaAccuracy | None:
    if job is None or not (job.start.runs or job.halfway.runs):
        return None
    return EtaAccuracy(_eta_checks(job.start), _eta_checks(job.halfway))


def _eta_checks(found: Accuracy) -> EtaChecks:
    mean_error = found.error_micros / found.runs / 1e6 if found.runs else None
    return EtaChecks(found.runs, found.inside, found.early, found.late, mean_error)


def label_names(statistics: Statistics) -> LabelNames:
    """Return the names of labels by which runs are counted, in order."""
    labels = statistics.labels
    names = [LabelName(name, len(of.values), of.other is not None) for name, of in sorted(labels.names.items())]
    return LabelNames(labels=names, left_out=labels.left_out)


def label_statistics(
    statistics: Statistics, label: str, value: str | None = None, *, limit: int | None = None, offset: int = 0
) -> LabelStatistics:
    """Return the statistics by the value of a label, those with most runs first; all runs of `other` come last."""
    folds = statistics.labels.names.get(label) or ValueFolds()
    if value is not None:
        chosen = [(value, folds.values[value])] if value in folds.values else []
    else:
        chosen = sorted(folds.values.items(), key=lambda one: (-_runs(one[1]), one[0]))
    shown = chosen[offset : offset + limit] if limit is not None else chosen[offset:]
    return LabelStatistics(
        label=label,
        values=[LabelValueStatistics(value=name, **_common(one)) for name, one in shown],
        total=len(chosen),
        other=LabelValueStatistics(value=None, **_common(folds.other)) if folds.other is not None else None,
        most_values=MOST_VALUES,
    )


def _runs(job: JobFold) -> int:
    return job.total.total + len(job.open)


def _common(job: JobFold) -> dict[str, Any]:
    """Return what jobs and values of labels have in common."""
    total, running = job.total, sum(run.running for run in job.open.values())
    extremes = (job.extremes.shortest, job.extremes.longest) if job.extremes is not None else None
    decided = total.success + total.failed
    return {
        "total": _runs(job),
        "success": total.success,
        "failed": total.failed,
        "missed": total.missed,
        "cancelled": total.cancelled,
        "running": running,
        "scheduled": len(job.open) - running,
        "success_rate": total.success / decided if decided else None,
        "avg_execution_time": total.average,
        "p50": _seconds(percentile(job.durations, 0.50, extremes)),
        "p95": _seconds(percentile(job.durations, 0.95, extremes)),
        "percentile_error": ERROR if job.durations else None,
        "last_execution": _last_execution(job.last),
        "streak": _streak(job.streak),
        "by_day": [_day(row.period, row.tally) for row in job.days],
    }


def outcomes_today(statistics: Statistics, now: datetime) -> Day:
    """Return the outcomes of all jobs on the current day."""
    day, found = now.astimezone(ZoneInfo(statistics.zone)).toordinal(), Tally()
    for job in statistics.jobs.values():
        found.add(job.days.get(day))
    return _day(day, found)


def _last_execution(last: LastRun | None) -> LastCounted | None:
    if last is None:
        return None
    return LastCounted(
        id=last.id, status=last.status, timestamp=from_micros(last.at), execution_time=_seconds(last.micros)
    )


def _streak(streak: job_fold.Streak) -> Streak:
    return Streak(streak.status, streak.length, streak.longest_success, streak.longest_failed)


def _day(period: int, tally: Tally) -> Day:
    day = date.fromordinal(period)
    return Day(day, tally.success, tally.failed, tally.missed, tally.cancelled, tally.average)


def _hour(period: int, tally: Tally) -> Hour:
    hour = from_micros(period * HOUR_MICROS).astimezone(UTC)
    return Hour(hour, tally.success, tally.failed, tally.missed, tally.cancelled, tally.average)


def _seconds(micros: float | None) -> float | None:
    return micros / 1e6 if micros is not None else None
