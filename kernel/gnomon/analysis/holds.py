"""Find in the log the holds of the whole kernel, which keep the fires of all jobs back."""

from __future__ import annotations

from datetime import datetime, timedelta

from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.durations import MICROSECOND
from gnomon.explanations import Pause
from gnomon.ports import Store
from gnomon.stores.reading import hold_at

CLOCK_SET_BACK = timedelta(days=366)
"""How far back the clock may have been set since the newest hold."""


async def present_hold(store: Store, now: datetime) -> Pause | None:
    """Return the hold that keeps all fires back now."""
    hold = await hold_at(store, now + CLOCK_SET_BACK)
    return Pause(since=hold.since, by=hold.actor, reason=hold.reason) if hold is not None else None


async def hold_of(store: Store, fire: datetime, decided: Event) -> Pause | None:
    """Return the hold in force when a fire was due; `until` is None where it lasted longer than the fire waited."""
    if (hold := await hold_at(store, fire)) is None:
        return None
    facts = await store.job_events("", fire, decided.at + MICROSECOND)
    released = next((one for one in facts if isinstance(one, events.KernelReleased)), None)
    return Pause(
        since=hold.since,
        until=released.at if released is not None else None,
        by=hold.actor,
        reason=hold.reason,
        ended_by=released.actor if released is not None else None,
    )


async def released_hold(store: Store, fire: datetime, decided: Event) -> Pause | None:
    """Return the hold that kept a fire back until it was released, before the fire was decided."""
    hold = await hold_of(store, fire, decided) if decided.at > fire else None
    return hold if hold is not None and hold.until is not None else None
