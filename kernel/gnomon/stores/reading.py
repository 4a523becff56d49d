"""Read a span of the log in bounded memory, and find facts of kernels in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from gnomon.domain import events
from gnomon.domain.events import Event, Hold
from gnomon.domain.records import ExecutionQuery
from gnomon.errors import StoreError
from gnomon.ports import Store
from gnomon.tasks import at_once

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


async def read_behind(store: Store, last: Event, limit: int) -> list[Event]:
    """Return up to `limit` events behind one that was read before; StoreError if the log has lost or replaced that one.

    It may have been deleted by retention.
    """
    found = await store.read(last.position - 1, limit + 1)
    if found and found[0].position == last.position:
        if _identity(found[0]) == _identity(last):
            return found[1:]
    elif found or await store.head() >= last.position:
        return found[:limit]
    raise StoreError(
        f"event {last.position:,} of the log was read here, and is gone or another one: the log was replaced, or has "
        "lost events. Restore it, or start this process again, which then reads the log as it is"
    )


def _identity(event: Event) -> tuple[object, ...]:
    return event.stream, event.version, event.node, event.at


async def newest_time(store: Store, now: datetime) -> datetime | None:
    """Return the time of the newest event of the log, if it is later than `now`; StoreError.

    Events that a clock far ahead has recorded may be followed by any number with earlier times, so it also asks for
    executions from the future.
    """
    after = max(await store.head() - NEWEST_EVENTS, 0)
    query = ExecutionQuery(since=now, limit=1, hidden=True, brief=True, counts=False)
    newest, ahead = await at_once(store.read(after, NEWEST_EVENTS), store.executions(query))
    times = [*(event.at for event in newest), *(execution.timestamp for execution in ahead.items)]
    return max((at for at in times if at > now), default=None)


async def time_of_newest(store: Store, now: datetime) -> datetime:
    """Return the same, or EARLIEST; also where events cannot be read, which must not stop a start."""
    with suppress(StoreError):
        return await newest_time(store, now) or EARLIEST
    return EARLIEST


async def newest_kernel_fact(
    store: Store, moment: datetime, wanted: Callable[[Event], bool], window: timedelta = FIRST_LOOK_BACK
) -> Event | None:
    """Return the newest wanted fact of a kernel before a moment; None if the log has none. `window` is searched first.

    For a moment in the future it has to reach into the past: each window is a request to the store.
    """
    until = moment
    while until > EARLIEST:
        since = until - window if until - EARLIEST > window else EARLIEST
        facts = [event for event in await store.job_events("", since, until) if wanted(event)]
        if facts:
            return facts[-1]
        until, window = since, window * 4
    return None


async def hold_at(store: Store, moment: datetime, window: timedelta = FIRST_LOOK_BACK) -> Hold | None:
    """Return the hold of all fires that is in force just before a moment; each start of a kernel repeats it."""
    return hold_of(await newest_kernel_fact(store, moment, tells_of_a_hold, window))


def hold_of(fact: Event | None) -> Hold | None:
    """Return the hold in force after the newest fact that tells of one."""
    if isinstance(fact, events.KernelStarted):
        return fact.hold
    return Hold(fact.at, fact.actor, fact.reason) if isinstance(fact, events.KernelHeld) else None


def tells_of_a_hold(event: Event) -> bool:
    """Return whether a fact says if fires are held."""
    return isinstance(event, events.KernelStarted | events.KernelHeld | events.KernelReleased)
