"""The times that schedules name before jitter: those that jobs share which run after each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from gnomon.durations import MICROSECOND
from gnomon.scheduling.hashed_jitter import HashedJitterTrigger, fire_of, nominal_time
from gnomon.scheduling.limited_triggers import BoundedTrigger, FilteredTrigger
from gnomon.scheduling.triggers import AnchoredTrigger, AtTrigger


class AnchoredSchedule(NamedTuple):
    """A trigger and the moment from which its fires are counted."""

    trigger: AnchoredTrigger
    anchor: datetime

    @property
    def base(self) -> AnchoredTrigger:
        """The trigger that names the nominal times."""
        return self.trigger.trigger if isinstance(self.trigger, HashedJitterTrigger) else self.trigger


class NominalTimes:
    """Converts fires to nominal times and back; a job without a schedule has the times that its upstream jobs share."""

    def __init__(
        self, schedule_of: Callable[[str], AnchoredSchedule | None], upstream_of: Callable[[str], Sequence[str]]
    ) -> None:
        self._schedule_of = schedule_of
        self._upstream_of = upstream_of

    def nominal_time(self, job_id: str, fire: datetime) -> datetime:
        """Return the time that the schedule of a job names for a fire."""
        found = self._schedule_of(job_id)
        return nominal_time(found.trigger, fire, found.anchor) if found is not None else fire

    def fire_of(self, job_id: str, nominal: datetime) -> datetime | None:
        """Return the fire of a time that the schedule of a job names; None for one that it does not name."""
        found = self._schedule_of(job_id)
        return fire_of(found.trigger, nominal, found.anchor) if found is not None else nominal

    def names(self, job_id: str, time: datetime) -> bool:
        """Return whether a time is one of a job."""
        if (found := self._schedule_of(job_id)) is not None:
            return found.base.fire_after(time - MICROSECOND, found.anchor) == time
        upstream = self._upstream_of(job_id)
        return bool(upstream) and all(self.names(one, time) for one in upstream)

    def is_single(self, job_id: str) -> bool:
        """Return whether a job, or the first one of its chain, has a single fire, which may be late and is due."""
        while (found := self._schedule_of(job_id)) is None and (upstream := self._upstream_of(job_id)):
            job_id = upstream[0]
        trigger = found.base if found is not None else None
        while isinstance(trigger, BoundedTrigger | FilteredTrigger):
            trigger = trigger.trigger
        return isinstance(trigger, AtTrigger)

    def times(self, job_id: str, first: datetime) -> Iterator[datetime]:
        """Iterate over the times of a job from one of them on; nothing without a schedule that names them."""
        found = self._schedule_of(root := job_id)
        while found is None and (upstream := self._upstream_of(root)):
            root = upstream[0]  # which has all times of the job, and perhaps more
            found = self._schedule_of(root)
        time: datetime | None = first
        while found is not None and time is not None:
            if root == job_id or self.names(job_id, time):
                yield time
            time = found.base.next_after(time, found.anchor)
