"""The statistics as people and programs see them: the JSON of the command line and of REST."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import msgspec

from gnomon.stores.microseconds import from_micros
from gnomon_stats.fold import HOUR_MICROS, JobFold, LastRun, Standing, Statistics, Streak
from gnomon_stats.histogram import percentile
from gnomon_stats.series import Tally


class LastExecution(msgspec.Struct, frozen=True):
    """The newest execution: `timestamp` is its start, before that the time of recording; durations are seconds."""

    id: str
    status: Standing
    timestamp: datetime
    execution_time: float | None


class CurrentStreak(msgspec.Struct, frozen=True):
    """The current streak and the longest ones; `status` is that of the runs in the current streak."""

    status: str | None
    length: int
    longest_success: int
    longest_failed: int


class DayStats(msgspec.Struct, frozen=True):
    """The outcomes of one day in the statistics' zone; the mean is of the successful runs, in seconds."""

    day: date
    success: int
    failed: int
    missed: int
    cancelled: int
    avg_execution_time: float | None


class HourStats(msgspec.Struct, frozen=True):
    """The outcomes of the hour that begins at `hour`."""

    hour: datetime
    success: int
    failed: int
    missed: int
    cancelled: int
    avg_execution_time: float | None


class JobStats(msgspec.Struct, frozen=True):
    """The statistics of one job, over all executions that the log ever had.

    `total` counts all of them, also `scheduled` and `running` ones. `success_rate`, 0 to 1, is the share of successes
    among the runs that succeeded or failed. Durations are seconds, and of successful runs only; `p50` and `p95` are off
    by at most 2 %. `by_day` and `by_hour` list the periods in which a run ended.
    """

    job_id: str
    total: int
    success: int
    failed: int
    missed: int
    cancelled: int
    running: int
    scheduled: int
    success_rate: float | None
    avg_execution_time: float | None
    p50: float | None
    p95: float | None
    last_execution: LastExecution | None
    streak: CurrentStreak
    by_day: list[DayStats]
    by_hour: list[HourStats]


def job_stats(statistics: Statistics, job_id: str) -> JobStats:
    """Return the statistics of one job; zeros where the log has no execution of it."""
    job = statistics.jobs.get(job_id) or JobFold()
    total, running = job.total, sum(run.running for run in job.open.values())
    decided = total.success + total.failed
    return JobStats(
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
        p50=_seconds(percentile(job.durations, 0.50)),
        p95=_seconds(percentile(job.durations, 0.95)),
        last_execution=_last_execution(job.last),
        streak=_streak(job.streak),
        by_day=[_day(row.period, row.tally) for row in job.days],
        by_hour=[_hour(row.period, row.tally) for row in job.hours],
    )


def day_stats(statistics: Statistics, now: datetime) -> DayStats:
    """Return the outcomes of all jobs on the current day."""
    day, found = now.astimezone(ZoneInfo(statistics.zone)).toordinal(), Tally()
    for job in statistics.jobs.values():
        found.add(job.days.get(day))
    return _day(day, found)


def _last_execution(last: LastRun | None) -> LastExecution | None:
    if last is None:
        return None
    return LastExecution(last.id, last.status, from_micros(last.at), _seconds(last.micros))


def _streak(streak: Streak) -> CurrentStreak:
    return CurrentStreak(streak.status, streak.length, streak.longest_success, streak.longest_failed)


def _day(period: int, tally: Tally) -> DayStats:
    day = date.fromordinal(period)
    return DayStats(day, tally.success, tally.failed, tally.missed, tally.cancelled, tally.average)


def _hour(period: int, tally: Tally) -> HourStats:
    hour = from_micros(period * HOUR_MICROS).astimezone(UTC)
    return HourStats(hour, tally.success, tally.failed, tally.missed, tally.cancelled, tally.average)


def _seconds(micros: float | None) -> float | None:
    return micros / 1e6 if micros is not None else None
