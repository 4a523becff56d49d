"""The counts of each job, and of all, by periods of several widths: what a timeline from minutes to months is made of.

A run counts in the period in which it ended, as in the statistics by hour and by day; a range of fires that were missed
together counts as `count`. The lateness of a run counts in the period in which it began. Each width keeps its newest
periods, counted and not limited by age, for the reason given in `job_fold`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from gnomon.domain.events import Cancelled, Event, Failed, Imported, Missed, Started, Succeeded
from gnomon.stores.microseconds import to_micros
from gnomon_stats.cells import CANCELLED, FAILED, LATENESS, MISSED, SUCCESS, Cells, entry_of, period_bucket
from gnomon_stats.job_fold import ZoneDays, micros_of

MINUTE_S, FIVE_MINUTES_S, HOUR_S, DAY_S = 60, 300, 3_600, 86_400


class Level(msgspec.Struct, frozen=True):
    """Periods of one width, and how many of them are kept of a job, and of all jobs together.

    Days are those of the time zone of the statistics, all others begin at multiples of their width since 1970.
    """

    seconds: int
    kept: int
    kept_of_all: int


LEVELS: Final = (
    Level(MINUTE_S, 130, 1_500),  # 2 hours; more of them than that, for clocks that were ahead
    Level(FIVE_MINUTES_S, 310, 2_100),  # 25 hours
    Level(HOUR_S, 14 * 24 + 4, 95 * 24),
    Level(DAY_S, 400, 4_000),
)
_LEVELS: Final = tuple(
    (0 if level.seconds == DAY_S else level.seconds * 1_000_000, level.kept, level.kept_of_all) for level in LEVELS
)
"""The width of each level in µs, 0 for days, and its limits: 8 counts an event read them."""
_TIMED: Final = frozenset({SUCCESS, LATENESS})
KINDS_OF_IMPORTED: Final = {"success": SUCCESS, "failed": FAILED, "missed": MISSED, "cancelled": CANCELLED}


def _levels() -> tuple[Cells, ...]:
    return tuple(Cells() for _ in LEVELS)


class JobLanes(msgspec.Struct):
    """The counts of one job, or of all jobs, one entry for each level."""

    levels: tuple[Cells, ...] = msgspec.field(default_factory=_levels)


class LaneFold(msgspec.Struct):
    """The counts of each job and of all, folded up to `position`."""

    position: int = 0
    jobs: dict[str, JobLanes] = {}
    all: JobLanes = msgspec.field(default_factory=JobLanes)

    def count(self, event: Event, day_of: ZoneDays) -> None:
        """Count an event that ends a run, or begins one."""
        match event:
            case Started():
                self._add(event, LATENESS, event.at, day_of, micros=micros_of(event.delay))
            case Succeeded():
                self._add(event, SUCCESS, event.at, day_of, micros=micros_of(event.execution_time))
            case Failed():
                self._add(event, FAILED, event.at, day_of)
            case Missed():
                self._add(event, MISSED, event.at, day_of, count=event.count)
            case Cancelled(snoozed_until=None):
                self._add(event, CANCELLED, event.at, day_of)
            case Imported():
                kind, micros = KINDS_OF_IMPORTED[event.status], micros_of(event.execution_time) or 0
                self._add(event, kind, event.ended_at, day_of, micros=micros)
            case _:
                pass

    def _add(self, event: Event, kind: int, at: datetime, day_of: ZoneDays, *, micros: int = 0, count: int = 1) -> None:
        if (job := self.jobs.get(event.job_id)) is None:
            job = self.jobs[event.job_id] = JobLanes()
        since_1970 = to_micros(at)
        entry = entry_of(kind, period_bucket(kind, micros) if kind in _TIMED else 0)
        for (width, kept, kept_of_all), own, of_all in zip(_LEVELS, job.levels, self.all.levels, strict=True):
            period = since_1970 // width if width else day_of(at, since_1970)
            own.count(entry, period, count, kept)
            of_all.count(entry, period, count, kept_of_all)


def encode_cells(value: Any) -> Any:
    """Return cells in the form in which they are saved."""
    return value.plain()


def decode_cells(value: Any) -> Cells:
    """Return saved cells; ValueError for what is none."""
    entries, periods, dropped = value
    return Cells(entries, periods, dropped)
