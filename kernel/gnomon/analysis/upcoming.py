"""When a job is due next, from its definition and the log, without a kernel."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Literal

import msgspec

from gnomon.analysis.schedule_history import Schedule
from gnomon.domain.job_state import JobState
from gnomon.durations import MICROSECOND
from gnomon.errors import GnomonError
from gnomon.jobs.diff import changed_keys, is_rescheduled
from gnomon.jobs.job import Job
from gnomon.scheduling.catch_up import next_fire
from gnomon.scheduling.triggers import AnchoredTrigger

MOST_PAST_FIRES = 100_000
"""Past fires that are walked through to find the first future one, which takes 0.1 s; after that many, the search
starts from now."""

State = Literal["active", "paused", "new", "changed"]


class Upcoming(msgspec.Struct, frozen=True):
    """The future fires. `overdue` is the oldest past fire that no kernel has decided yet."""

    fires: list[datetime]
    overdue: datetime | None = None


def state_of(job: Job, state: JobState | None) -> State:
    """Compare a definition with the log; `new` and `changed` ones take effect when the kernel starts again."""
    if state is None or state.removed:
        return "new"
    if state.paused:
        return "paused"
    return "active" if _same_schedule(job, state) else "changed"


def upcoming(job: Job, state: JobState | None, now: datetime, count: int) -> Upcoming:
    """Return the next fires of a job: none if it is paused or has no schedule."""
    try:
        trigger, found = job.build_trigger(), state_of(job, state)
    except GnomonError:
        return Upcoming([])  # a job of the log that this version cannot build
    if trigger is None or found == "paused" or (found == "new" and job.paused):
        return Upcoming([])
    if state is None or found != "active":
        anchor = now
        first = next_fire(trigger, None, now)
    else:
        anchor = state.anchor
        first = next_fire(trigger, state.last_fire, state.anchor, state.newest_fire)
    if first is None:
        return Upcoming([])
    skipped = {skip.at for skip in state.skips} if state is not None else set()
    to_come = islice((fire for fire in _to_come(trigger, first, anchor, now) if fire not in skipped), count)
    return Upcoming(list(to_come), overdue=first if first <= now else None)


def first_after(job: Job, state: JobState, moment: datetime) -> datetime | None:
    """Return the first fire of a job's schedule after a moment, whatever was decided then; None if it is paused."""
    try:
        trigger = None if state.paused else job.build_trigger()
    except GnomonError:
        return None
    if trigger is None:
        return None
    schedule = Schedule(
        job_id=job.id, position=0, since=state.anchor, anchor=state.anchor, definition=state.definition, trigger=trigger
    )
    start = moment + MICROSECOND
    begun = schedule.fires_begin(start)
    if begun is None:  # its fires follow from those before
        return next(iter(upcoming(job, state, moment, 1).fires), None)
    return next((fire for fire in schedule.fires_from(start, *begun) if state.skip_of(fire) is None), None)


def _to_come(trigger: AnchoredTrigger, first: datetime, anchor: datetime, now: datetime) -> Iterator[datetime]:
    """Iterate over the fires after now: counted from the first undecided one, or from now if that is too far away."""
    for n, fire in enumerate(_from(trigger, first, anchor)):
        if fire > now:
            yield fire
        elif n == MOST_PAST_FIRES:
            following = next_fire(trigger, None, now)
            yield from _from(trigger, following, now)
            return


def _from(trigger: AnchoredTrigger, fire: datetime | None, anchor: datetime) -> Iterator[datetime]:
    while fire is not None:
        yield fire
        fire = next_fire(trigger, fire, anchor)


def _same_schedule(job: Job, state: JobState) -> bool:
    definition = job.definition()
    return not is_rescheduled(changed_keys(state.definition, definition), definition)
