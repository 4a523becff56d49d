"""When a job is due next, as far as its definition and the log tell: no kernel is needed to know it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Literal

import msgspec

from gnomon.domain.job_state import JobState
from gnomon.engine.job_registry import SCHEDULE_KEYS
from gnomon.jobs.job import Job
from gnomon.scheduling.catch_up import next_fire
from gnomon.scheduling.triggers import Trigger

SKIPPED = 100_000
"""Past fires that are counted through to find the first one to come, some 0.1 s; beyond that it is counted from now."""

State = Literal["active", "paused", "new", "changed"]


class Upcoming(msgspec.Struct, frozen=True):
    """The fires to come. `overdue` is the oldest past fire of which the log says nothing: no kernel came to it yet."""

    fires: list[datetime]
    overdue: datetime | None = None


def state_of(job: Job, state: JobState | None) -> State:
    """Tell how a definition stands to the log: `new` and `changed` ones wait for the next start of the kernel."""
    if state is None or state.removed:
        return "new"
    if state.paused:
        return "paused"
    return "active" if _same_schedule(job, state) else "changed"


def upcoming(job: Job, state: JobState | None, now: datetime, count: int) -> Upcoming:
    """Find the next fires of a job; none for a paused one, and one without a schedule."""
    trigger, standing = job.build_trigger(), state_of(job, state)
    if trigger is None or standing == "paused" or (standing == "new" and job.paused):
        return Upcoming([])
    if state is None or standing != "active":
        first = next_fire(trigger, None, now)
    else:
        first = next_fire(trigger, state.last_fire, state.anchor, state.newest_fire)
    if first is None:
        return Upcoming([])
    to_come = islice(_to_come(trigger, first, now), count)
    return Upcoming(list(to_come), overdue=first if first <= now else None)


def _to_come(trigger: Trigger, first: datetime, now: datetime) -> Iterator[datetime]:
    """Iterate over the fires after now, walking there from the first one, or from now where that is far away."""
    for n, fire in enumerate(_from(trigger, first, now)):
        if fire > now:
            yield fire
        elif n == SKIPPED:
            following = next_fire(trigger, None, now)
            yield from _from(trigger, following, now)
            return


def _from(trigger: Trigger, fire: datetime | None, now: datetime) -> Iterator[datetime]:
    while fire is not None:
        yield fire
        fire = next_fire(trigger, fire, now)


def _same_schedule(job: Job, state: JobState) -> bool:
    definition = job.definition()
    return all(definition.get(key) == state.definition.get(key) for key in SCHEDULE_KEYS)
