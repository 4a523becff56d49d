"""Which due fires run and which are missed: pure decisions from time and policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from gnomon.domain.events import MissedReason
from gnomon.domain.job_state import JobState
from gnomon.durations import MICROSECOND
from gnomon.errors import TriggerError
from gnomon.scheduling.triggers import AnchoredTrigger

CatchUp = Literal["latest", "all", "none"]

ON_TIME = timedelta(seconds=60)
MOST_BACKFILLED = 100_000
"""Fires of one backfill."""
"""How late a fire may start with catch_up = "none" and no grace: a busy loop or a quick restart is not late."""


class MissedRange(msgspec.Struct, frozen=True):
    """Consecutive fires that do not run, for the same reason."""

    reason: MissedReason
    first: datetime
    last: datetime
    count: int


class Absence(msgspec.Struct, frozen=True):
    """The time up to which fires were held back: by a pause, by a hold of the whole kernel, or by downtime."""

    paused_until: datetime | None = None
    held_until: datetime | None = None
    down_until: datetime | None = None

    def reason(self, fire: datetime) -> MissedReason:
        """Return the reason for which a fire at that time is late."""
        if self.paused_until is not None and fire <= self.paused_until:
            return "paused"
        if self.held_until is not None and fire <= self.held_until:
            return "held"
        if self.down_until is not None and fire <= self.down_until:
            return "downtime"
        return "late"


class Decision(NamedTuple):
    """The fires that run, oldest first, and those that do not."""

    run: Sequence[datetime]
    missed: Sequence[MissedRange]


def next_fire(
    trigger: AnchoredTrigger, last_fire: datetime | None, anchor: datetime, newest: datetime | None = None
) -> datetime | None:
    """Return the fire after the last one, or the first one after the anchor; None if the trigger has ended.

    A trigger with a single fire may name a time before the anchor, which is late but still due, unless the job had that
    fire under an earlier schedule: `newest` is the newest fire under any schedule. Raises TriggerError for a trigger
    that does not move on, because it would fire for ever.
    """
    if last_fire is not None:
        fire = trigger.next_after(last_fire, anchor)
        if fire is not None and fire <= last_fire:
            raise TriggerError(f"trigger {trigger} does not move on: the fire after {last_fire} is {fire}")
        return fire
    first = trigger.fire_after(None, anchor)
    return first if first is None or newest is None or first > newest else trigger.fire_after(newest, anchor)


def fires(
    trigger: AnchoredTrigger,
    last_fire: datetime | None,
    anchor: datetime,
    until: datetime,
    newest: datetime | None = None,
) -> Iterator[datetime]:
    """Iterate over the fires after the last one, up to and including `until`."""
    fire = next_fire(trigger, last_fire, anchor, newest)
    while fire is not None and fire <= until:
        yield fire
        fire = next_fire(trigger, fire, anchor)


def fires_within(trigger: AnchoredTrigger, anchor: datetime, since: datetime, until: datetime) -> Iterator[datetime]:
    """Iterate over the fires from `since` to `until`, both included; before the anchor they count from the begin."""
    before = since - MICROSECOND
    earliest = min(anchor, before)
    first = trigger.fire_after(before, earliest)
    if first is not None and first <= until:
        yield first
        yield from fires(trigger, first, earliest, until)


class Backlog:
    """Collects the due fires of one job, oldest first, and decides about each of them exactly once.

    With "latest" the newest fire runs, with "all" every fire, with "none" the newest one if it is on time. Fires later
    than `grace` do not run. Memory is bounded except with "all".
    """

    def __init__(self, catch_up: CatchUp, grace: timedelta | None, absence: Absence) -> None:
        self._every = catch_up == "all"
        self._grace = grace if grace is not None else ON_TIME if catch_up == "none" else timedelta.max
        self._absence = absence
        self._candidates: list[datetime] = []
        self._missed: list[MissedRange] = []

    def add(self, fire: datetime) -> None:
        """Add the next fire."""
        if self._candidates and not self._every:
            self._miss(self._candidates.pop())
        self._candidates.append(fire)

    def miss_all(self) -> list[MissedRange]:
        """Return all fires as missed."""
        while self._candidates:
            self._miss(self._candidates.pop(0))
        return self._missed

    def decide(self, now: datetime) -> Decision:
        """Return the fires that run and those that are missed."""
        run = []
        for fire in self._candidates:
            if now - fire <= self._grace:
                run.append(fire)
            else:
                self._miss(fire)
        return Decision(run, self._missed)

    def _miss(self, fire: datetime) -> None:
        reason = self._absence.reason(fire)
        if self._missed and self._missed[-1].reason == reason:
            one = self._missed[-1]
            self._missed[-1] = MissedRange(reason, one.first, fire, one.count + 1)
        else:
            self._missed.append(MissedRange(reason, fire, fire, 1))


DETAILS: dict[MissedReason, str] = {
    "late": "the kernel decided it later than catch_up and grace allow",
    "downtime": "no kernel was running",
    "paused": "the job was paused",
    "held": "the kernel was held",
}


def undecided(
    trigger: AnchoredTrigger, state: JobState, now: datetime, absence: Absence | None = None
) -> list[MissedRange]:
    """Return the fires of a job up to now that have no outcome yet, as missed ranges; by default of a downtime."""
    if absence is None:
        absence = Absence(paused_until=now) if state.paused else Absence(down_until=now)
    backlog = Backlog("latest", None, absence)
    for fire in fires(trigger, state.last_fire, state.anchor, now, state.newest_fire):
        backlog.add(fire)
    return backlog.miss_all()
