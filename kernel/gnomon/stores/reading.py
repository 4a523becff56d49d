"""Read a span of the log in bounded memory, and find facts of kernels in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta

from gnomon.domain import events
from gnomon.domain.events import Event, Hold
from gnomon.domain.records import ExecutionQuery
from gnomon.ports import Store

BLOCK = 2_000
"""Events that are read at once."""
NEWEST_EVENTS = 256
"""Events at the end of the log whose times are compared with the clock."""
FIRST_LOOK_BACK = timedelta(days=8)
"""How far back a fact is searched first; each further window is four times as long."""
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


async def read_log(store: Store, after: int, head: int) -> AsyncIterator[Sequence[Event]]:
    """Yield the events in after < position <= head, block by block."""
    while after < head and (block := await store.read(after, min(BLOCK, head - after))):
        after = block[-1].position
        yield [event for event in block if event.position <= head] if after > head else block


async def newest_time(store: Store, now: datetime) -> datetime | None:
    """Return the time of the newest event of the log, if it is later than `now`; StoreError.

    Events that a clock far ahead has recorded may be followed by any number with earlier times, so it also asks for
    executions from the future.
    """
    newest = await store.read(max(await store.head() - NEWEST_EVENTS, 0), NEWEST_EVENTS)
    ahead = await store.executions(ExecutionQuery(since=now, limit=1, hidden=True, brief=True))
    times = [*(event.at for event in newest), *(execution.timestamp for execution in ahead.items)]
    return max((at for at in times if at > now), default=None)


async def newest_kernel_fact(store: Store, moment: datetime, wanted: Callable[[Event], bool]) -> Event | None:
    """Return the newest wanted fact of a kernel before a moment; None if the log has none."""
    window, until = FIRST_LOOK_BACK, moment
    while until > EARLIEST:
        since = until - window if until - EARLIEST > window else EARLIEST
        facts = [event for event in await store.job_events("", since, until) if wanted(event)]
        if facts:
            return facts[-1]
        until, window = since, window * 4
    return None


async def hold_at(store: Store, moment: datetime) -> Hold | None:
    """Return the hold of all fires that is in force just before a moment; each start of a kernel repeats it."""
    fact = await newest_kernel_fact(store, moment, _tells_of_a_hold)
    if isinstance(fact, events.KernelStarted):
        return fact.hold
    return Hold(fact.at, fact.actor, fact.reason) if isinstance(fact, events.KernelHeld) else None


def _tells_of_a_hold(event: Event) -> bool:
    return isinstance(event, events.KernelStarted | events.KernelHeld | events.KernelReleased)
