"""The counts of one job, or of the runs with one value of a label, as a pure fold over their events.

An execution counts in the hour and on the day of the event that ended it. So the past does not change, and what
retention deletes is always older than what it leaves. Retries and manual runs are executions of their own; a range of
fires that were missed together counts as `count` fires. A run that was snoozed does not count, the run that takes its
place does. An imported run counts when it ended, and is part of no streak: it may be older than runs that are counted
already.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, Literal, TypeAlias, overload
from zoneinfo import ZoneInfo

import msgspec

from gnomon.domain.events import Cancelled, Event, Failed, Imported, Missed, Scheduled, Started, Succeeded
from gnomon.durations import LONGEST_RUN
from gnomon.stores.microseconds import to_micros
from gnomon_stats.histogram import bucket_of
from gnomon_stats.series import Outcome, Series, Tally, add_micros

HOURS, DAYS = 14 * 24, 400
"""The hours and days of a job that are kept: the newest ones with ends of runs. They are counted, not limited by age,
because a single event with a time in the far future would make all others too old."""
LABEL_DAYS = 31
"""The days of a value of a label that are kept."""
HOUR_MICROS = 3_600_000_000
_LONGEST_S = LONGEST_RUN.total_seconds()
Standing = Literal["scheduled", "running", "success", "failed", "missed", "cancelled"]


class OpenRun(msgspec.Struct, array_like=True):
    """An execution without an outcome; `at`, in µs since 1970, is its start, before that the time of recording."""

    running: bool
    at: int


class LastRun(msgspec.Struct, array_like=True, frozen=True):
    """The execution with the newest `at`, which a list shows first; `position` is that of its last event."""

    id: str
    status: Standing
    at: int
    micros: int | None
    position: int


class Streak(msgspec.Struct, array_like=True):
    """The number of consecutive successes or failures; a missed or cancelled run does not end a streak.

    `since` is the position of the first one.
    """

    status: Literal["success", "failed"] | None = None
    length: int = 0
    since: int = 0
    longest_success: int = 0
    longest_failed: int = 0

    def extend(self, status: Literal["success", "failed"], position: int) -> None:
        """Count the next outcome."""
        if status != self.status:
            self.status, self.length, self.since = status, 0, position
        self.length += 1
        if status == "success":
            self.longest_success = max(self.longest_success, self.length)
        else:
            self.longest_failed = max(self.longest_failed, self.length)


class Extremes(msgspec.Struct, array_like=True):
    """The shortest and the longest duration, in µs."""

    shortest: int
    longest: int


class JobFold(msgspec.Struct):
    """The counts of one job. `total` has no time limit: it sums `days` and the `older` days that were dropped.

    `extremes` are those of `durations`; None without any, or if a version that did not keep them counted the first.
    """

    total: Tally = msgspec.field(default_factory=Tally)
    older: Tally = msgspec.field(default_factory=Tally)
    days: Series = msgspec.field(default_factory=Series)
    hours: Series = msgspec.field(default_factory=Series)
    durations: dict[int, int] = {}
    extremes: Extremes | None = None
    open: dict[str, OpenRun] = {}
    last: LastRun | None = None
    streak: Streak = msgspec.field(default_factory=Streak)

    KEPT_DAYS: ClassVar[int] = DAYS
    KEPT_HOURS: ClassVar[int] = HOURS


class LabelledFold(JobFold):
    """The counts of the runs with one value of a label, of which there may be thousands: fewer days, and no hours."""

    KEPT_DAYS: ClassVar[int] = LABEL_DAYS
    KEPT_HOURS: ClassVar[int] = 0


EARLIEST, LATEST = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC)
"""The days of a zone are known between these; outside, a day or the next one may not exist there, and UTC counts."""


class ZoneDays:
    """Numbers the days of a zone; caches the bounds of the last day, because neighbours in the log share it."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._begin = self._end = self._day = 0

    def __call__(self, at: datetime, micros: int) -> int:
        if not self._begin <= micros < self._end:
            if not EARLIEST < at < LATEST:
                return at.toordinal()
            local = at.astimezone(self._zone)
            self._day = local.toordinal()
            midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
            next_midnight = midnight + timedelta(days=1)
            if midnight.utcoffset() == local.utcoffset() == next_midnight.replace(fold=1).utcoffset():
                self._begin, self._end = to_micros(midnight), to_micros(next_midnight)
            else:
                self._begin = self._end = 0  # clocks change on this day: it may even come in two parts
        return self._day


def _scheduled(job: JobFold, event: Scheduled, _day_of: ZoneDays) -> None:
    at = to_micros(event.at)
    job.open[event.stream] = OpenRun(running=False, at=at)
    _update_last(job, event, "scheduled", at)


def _started(job: JobFold, event: Started, _day_of: ZoneDays) -> None:
    at = to_micros(event.at)
    job.open[event.stream] = OpenRun(running=True, at=at)
    _update_last(job, event, "running", at)


def _succeeded(job: JobFold, event: Succeeded, day_of: ZoneDays) -> None:
    micros = micros_of(event.execution_time)
    _count_duration(job, micros)
    job.streak.extend("success", event.position)
    _end(job, event, "success", day_of, micros=micros)


def _failed(job: JobFold, event: Failed, day_of: ZoneDays) -> None:
    job.streak.extend("failed", event.position)
    _end(job, event, "failed", day_of, micros=micros_of(event.execution_time))


def _missed(job: JobFold, event: Missed, day_of: ZoneDays) -> None:
    _end(job, event, "missed", day_of, count=event.count)


def _cancelled(job: JobFold, event: Cancelled, day_of: ZoneDays) -> None:
    micros = micros_of(event.execution_time)
    if event.snoozed_until is None:
        _end(job, event, "cancelled", day_of, micros=micros)
        return
    begun = job.open.pop(event.stream, None)  # the run that takes its place counts
    _update_last(job, event, "cancelled", begun.at if begun is not None else to_micros(event.at), micros)


def _imported(job: JobFold, event: Imported, day_of: ZoneDays) -> None:
    micros = micros_of(event.execution_time)
    if event.status == "success":
        _count_duration(job, micros or 0)
    _update_last(job, event, event.status, to_micros(event.started_at), micros)
    _count(job, event, event.status, day_of, event.ended_at, micros=micros)


def _end(
    job: JobFold, event: Event, outcome: Outcome, day_of: ZoneDays, *, micros: int | None = None, count: int = 1
) -> None:
    begun = job.open.pop(event.stream, None)
    _update_last(job, event, outcome, begun.at if begun is not None else to_micros(event.at), micros)
    _count(job, event, outcome, day_of, event.at, micros=micros, count=count)


def _count(
    job: JobFold,
    event: Event,
    outcome: Outcome,
    day_of: ZoneDays,
    ended: datetime,
    *,
    micros: int | None = None,
    count: int = 1,
) -> None:
    at = to_micros(ended)
    spent = micros or 0 if outcome == "success" else 0
    setattr(job.total, outcome, getattr(job.total, outcome) + count)
    job.total.micros = add_micros(job.total.micros, spent)
    day, hour = day_of(ended, at), at // HOUR_MICROS
    job.days.count(day, outcome, count, spent, event.position)
    if job.KEPT_HOURS:
        job.hours.count(hour, outcome, count, spent, event.position)
        job.hours.keep_newest(job.KEPT_HOURS)
    if (dropped := job.days.keep_newest(job.KEPT_DAYS)) is not None:
        job.older.add(dropped)


def _update_last(job: JobFold, event: Event, status: Standing, at: int, micros: int | None = None) -> None:
    last = job.last
    if last is None or last.id == event.stream or (at, event.stream) > (last.at, last.id):
        job.last = LastRun(event.stream, status, at, micros, event.position)


def _count_duration(job: JobFold, micros: int) -> None:
    if not job.durations:
        job.extremes = Extremes(micros, micros)
    elif job.extremes is not None:
        job.extremes.shortest = min(job.extremes.shortest, micros)
        job.extremes.longest = max(job.extremes.longest, micros)
    bucket = bucket_of(micros)
    job.durations[bucket] = job.durations.get(bucket, 0) + 1


@overload
def micros_of(seconds: float) -> int: ...
@overload
def micros_of(seconds: float | None) -> int | None: ...
def micros_of(seconds: float | None) -> int | None:
    """Return a duration in µs; one that no run can have counts as the nearest that a run can have."""
    return round(min(max(seconds, 0.0), _LONGEST_S) * 1e6) if seconds is not None else None


Step: TypeAlias = Callable[[JobFold, Any, ZoneDays], None]
STEPS: Final[dict[type[Event], Step]] = {
    Scheduled: _scheduled,
    Started: _started,
    Succeeded: _succeeded,
    Failed: _failed,
    Missed: _missed,
    Cancelled: _cancelled,
    Imported: _imported,
}
"""How an event that counts changes the counts, by its type."""
