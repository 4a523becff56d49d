"""Times in which no kernel wrote to the log, which explain why a fire came late or was missed."""

from __future__ import annotations

from datetime import datetime

from gnomon.analysis import fire_outcomes
from gnomon.analysis.wait_explanation import NEGLIGIBLE_DELAY
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.durations import MICROSECOND
from gnomon.explanations import Silence
from gnomon.ports import Store
from gnomon.stores.reading import newest_kernel_fact


async def silence_at(store: Store, fire: datetime, head: int) -> Silence | None:
    """Return the time without a kernel in which a fire was due; None where one ran."""
    before, after = await fire_outcomes.silence_around(store, fire, head)
    if after is not None and after.at - fire < NEGLIGIBLE_DELAY:
        return None
    if after is not None and not isinstance(after, events.KernelStarted) and await _kernel_was_up(store, after):
        return None
    return _silence(before, after)


async def silence_before(store: Store, due: datetime, decided: Event) -> Silence | None:
    """Return the time without a kernel that began after a fire was due, and ended before it was decided."""
    facts = await store.job_events("", due, decided.at + MICROSECOND)
    starts = [fact for fact in facts if isinstance(fact, events.KernelStarted) and fact.position < decided.position]
    return _silence(await fire_outcomes.last_event(store, starts[-1].position - 1), starts[-1]) if starts else None


def _silence(before: Event | None, after: Event | None) -> Silence:
    return Silence(
        before.at if before is not None else None,
        after.at if after is not None else None,
        before.reason if isinstance(before, events.KernelStopped) else None,
        after.node if isinstance(after, events.KernelStarted) else None,
    )


async def _kernel_was_up(store: Store, event: Event) -> bool:
    """Return whether the kernel that wrote an event had started before; a log of an older version has no starts."""
    fact = await newest_kernel_fact(store, event.at, lambda _: True)
    return fact is not None and not isinstance(fact, events.KernelStopped)
