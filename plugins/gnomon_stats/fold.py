"""The statistics as a pure fold over the log; events that come a second time are skipped."""

from __future__ import annotations

from collections.abc import Iterable
from zoneinfo import ZoneInfo

import msgspec

from gnomon.domain.events import Event
from gnomon_stats.eta_fold import EtaFold
from gnomon_stats.job_fold import STEPS, JobFold, ZoneDays
from gnomon_stats.label_fold import LabelFold
from gnomon_stats.lane_fold import LaneFold


class Statistics(msgspec.Struct):
    """The projection: all jobs, folded up to a position of the log; its other parts have their own positions.

    Those are behind where a version that did not count them saved the statistics: they are counted from the start of
    the log, up to where the jobs are, and then together with them.

    Days begin at midnight in `zone`. Days whose first outcome is at or before `zone_since` may be days of another zone.
    Days and hours whose first outcome is at or before `rows_since` were counted by a version that dropped more.
    """

    zone: str = "UTC"
    zone_since: int = 0
    rows_since: int = 0
    position: int = 0
    jobs: dict[str, JobFold] = {}
    labels: LabelFold = msgspec.field(default_factory=LabelFold)
    lanes: LaneFold = msgspec.field(default_factory=LaneFold)
    etas: EtaFold = msgspec.field(default_factory=EtaFold)

    @property
    def counted(self) -> int:
        """The position up to which everything is counted: where reading the log has to go on."""
        return min(part.position for part in (self, self.labels, self.lanes, self.etas))

    def skip_to(self, position: int) -> None:
        """Move on to the end of a log whose last events were pruned."""
        for part in (self, self.labels, self.lanes, self.etas):
            part.position = max(part.position, position)


def fold(statistics: Statistics, events: Iterable[Event]) -> None:
    """Fold events into the statistics, in log order; events that are already counted are skipped."""
    day_of = ZoneDays(ZoneInfo(statistics.zone))
    jobs, labels, lanes, etas = statistics.jobs, statistics.labels, statistics.lanes, statistics.etas
    position, labels_position, lanes_position = statistics.position, labels.position, lanes.position
    etas_position = etas.position
    for event in events:
        if (step := STEPS.get(type(event))) is not None:
            if event.position > position:
                if (job := jobs.get(event.job_id)) is None:
                    job = jobs[event.job_id] = JobFold()
                step(job, event, day_of)
            if event.position > labels_position:
                labels.count(event, step, day_of)
            if event.position > lanes_position:
                lanes.count(event, day_of)
        if event.position > etas_position:
            etas.count(event)
        position = max(position, event.position)
        labels_position = max(labels_position, event.position)
        lanes_position = max(lanes_position, event.position)
        etas_position = max(etas_position, event.position)
    statistics.position, labels.position, lanes.position = position, labels_position, lanes_position
    etas.position = etas_position


def move_to_zone(statistics: Statistics, zone: str) -> None:
    """Count in the days of another zone from now on; what was counted before stays as it is."""
    if zone != statistics.zone:
        statistics.zone, statistics.zone_since = zone, statistics.position
