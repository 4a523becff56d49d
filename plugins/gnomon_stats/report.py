"""The statistics as people and programs see them: the JSON of the command line and of REST."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from gnomon.stores.microseconds import from_micros
from gnomon.wire.statistics import Day, Hour, JobStatistics, LastCounted, Streak
from gnomon_stats import fold
from gnomon_stats.fold import HOUR_MICROS, JobFold, LastRun, Statistics
from gnomon_stats.histogram import ERROR, percentile
from gnomon_stats.series import Tally


def job_statistics(statistics: Statistics, job_id: str) -> JobStatistics:
    """Return the statistics of one job; zeros where the log has no execution of it."""
    job = statistics.jobs.get(job_id) or JobFold()
    total, running = job.total, sum(run.running for run in job.open.values())
    extremes = (job.extremes.shortest, job.extremes.longest) if job.extremes is not None else None
    decided = total.success + total.failed
    return JobStatistics(
        job_id=job_id,
        total=total.total + len(job.open),
        success=total.success,
        failed=total.failed,
        missed=total.missed,
        cancelled=total.cancelled,
        running=running,
        scheduled=len(job.open) - running,
        success_rate=total.success / decided if decided else None,
        avg_execution_time=total.average,
        p50=_seconds(percentile(job.durations, 0.50, extremes)),
        p95=_seconds(percentile(job.durations, 0.95, extremes)),
        percentile_error=ERROR if job.durations else None,
        last_execution=_last_execution(job.last),
        streak=_streak(job.streak),
        by_day=[_day(row.period, row.tally) for row in job.days],
        by_hour=[_hour(row.period, row.tally) for row in job.hours],
    )


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


def _streak(streak: fold.Streak) -> Streak:
    return Streak(streak.status, streak.length, streak.longest_success, streak.longest_failed)


def _day(period: int, tally: Tally) -> Day:
    day = date.fromordinal(period)
    return Day(day, tally.success, tally.failed, tally.missed, tally.cancelled, tally.average)


def _hour(period: int, tally: Tally) -> Hour:
    hour = from_micros(period * HOUR_MICROS).astimezone(UTC)
    return Hour(hour, tally.success, tally.failed, tally.missed, tally.cancelled, tally.average)


def _seconds(micros: float | None) -> float | None:
    return micros / 1e6 if micros is not None else None
