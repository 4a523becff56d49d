"""Which fires of a job an operator may skip: those to come that its schedule names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from gnomon.domain.job_state import JobState
from gnomon.errors import JobError
from gnomon.scheduling.catch_up import next_fire
from gnomon.scheduling.triggers import AnchoredTrigger

MOST_SKIPS = 100
"""Fires of one job that may be skipped at a time; a longer time is a pause, or an `exclude` in the schedule."""
MOST_FIRES = 100_000
"""Fires that are walked through to find the one that an operator names: 0.1 s."""
SHOWN = 3


def find_fire(trigger: AnchoredTrigger, state: JobState, fire: datetime | None, now: datetime) -> datetime:
    """Return the named fire, or the next one, skipped or not; JobError where there is none to come.

    Without a name a repeated request is about the same fire: clients repeat what they did not see answered.
    """
    fires = (one.astimezone(UTC) for one in islice(_fires(trigger, state), MOST_FIRES))
    if fire is None:
        found = next((one for one in fires if one > now), None)
        if found is None:
            raise JobError(f"job {state.job_id!r} has no fire to come")
    else:
        found = fire.astimezone(UTC)
        coming: list[datetime] = []
        for one in fires:
            if one == found and one > now:
                break
            if one > now and len(coming) < SHOWN:
                coming.append(one)
            if one > found and len(coming) == SHOWN:
                raise _no_such_fire(state, found, coming)
        else:
            raise _no_such_fire(state, found, coming)
    return found


def expect_few(state: JobState) -> None:
    """Raise JobError where a job has too many skipped fires for one more."""
    coming = [skip for skip in state.skips if state.last_fire is None or skip.at > state.last_fire]
    if len(coming) >= MOST_SKIPS:
        raise JobError(f"job {state.job_id!r} has {MOST_SKIPS} skipped fires already: pause it, or change its schedule")


def _fires(trigger: AnchoredTrigger, state: JobState) -> Iterator[datetime]:
    fire = next_fire(trigger, state.last_fire, state.anchor, state.newest_fire)
    while fire is not None:
        yield fire
        fire = next_fire(trigger, fire, state.anchor)


def _no_such_fire(state: JobState, fire: datetime, coming: list[datetime]) -> JobError:
    known = f"the next ones are {', '.join(one.isoformat(sep=' ') for one in coming)}" if coming else "it has none"
    return JobError(f"job {state.job_id!r} has no fire to come at {fire.isoformat(sep=' ')}; {known}")
