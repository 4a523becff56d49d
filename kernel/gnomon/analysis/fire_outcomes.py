"""What the log has decided about fires: one entry for each run or miss, read in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from gnomon.domain import events
from gnomon.domain.events import Event, MissedReason
from gnomon.ports import Store

BLOCK = 2_000
"""Events that are read at once."""
FIRST_WINDOW, LONGEST_WINDOW = timedelta(minutes=10), timedelta(days=1)
"""Times of which one job's events are read at once: short where there are many, so that memory stays bounded."""
LONGEST_LOOK_BACK = timedelta(days=10 * 366)
EVER = datetime.max.replace(tzinfo=UTC)
ONE_DECISION = timedelta(seconds=1)


class FireOutcome(msgspec.Struct, frozen=True):
    """The outcome of a fire, or of `count` neighbouring ones from `first` to `last` that were missed."""

    job_id: str
    first: datetime
    last: datetime
    count: int
    execution_id: str
    position: int
    at: datetime
    missed: MissedReason | None = None


def entry_of(event: Event) -> FireOutcome | None:
    """Read the outcome that an event gives to fires; None for all others, among them retries and runs by hand."""
    if event.version > 1:
        return None
    if isinstance(event, events.Scheduled):
        if event.is_manual or event.attempt > 1:
            return None
        fire = event.scheduled_time
        return FireOutcome(event.job_id, fire, fire, 1, event.stream, event.position, event.at)
    if isinstance(event, events.Missed) and not event.is_manual:
        first, last = event.first or event.scheduled_time, event.last or event.scheduled_time
        return FireOutcome(event.job_id, first, last, event.count, event.stream, event.position, event.at, event.reason)
    return None


async def read_log(store: Store, after: int, head: int) -> AsyncIterator[Sequence[Event]]:
    """Read the log from one position to another, block by block."""
    while after < head and (block := await store.read(after, min(BLOCK, head - after))):
        after = block[-1].position
        yield [event for event in block if event.position <= head] if after > head else block


async def read_job(store: Store, job_id: str, since: datetime, head: int) -> AsyncIterator[Sequence[Event]]:
    """Read what the log says of one job from a moment on, in windows as long as memory allows."""
    last = await last_event(store, head)
    if last is None:
        return
    window = FIRST_WINDOW
    while since <= last.at:
        until = since + window
        block = await store.job_events(job_id, since, until)
        yield [event for event in block if event.position <= head]
        since = until
        window = window / 2 if len(block) > BLOCK * 5 else min(window * 2, LONGEST_WINDOW)
    yield [event for event in await store.job_events(job_id, since, EVER) if event.position <= head]


async def last_event(store: Store, head: int) -> Event | None:
    """Return the newest event at or before a position; what is at the position itself may have been pruned."""
    step = 1
    while head > 0:
        if block := await store.read(max(head - step, 0), step):
            return next((event for event in reversed(block) if event.position <= head), None)
        if step >= head:
            return None
        step *= 4
    return None


async def position_at(store: Store, moment: datetime, head: int) -> int:
    """Find the last position that was written before a moment, as the log's own times tell; 0 where there is none."""
    low, high = 0, head  # the event after `low` may be before the moment, the one after `high` is not
    while low < high:
        middle = (low + high) // 2
        block = await store.read(middle, 1)
        if block and block[0].position <= head and block[0].at < moment:
            low = block[0].position
        else:
            high = middle
    return low


async def pruned_until(store: Store, after: int, head: int) -> datetime | None:
    """Tell up to when outcomes may have been forgotten: positions are contiguous unless events were pruned."""
    expected, forgotten = after + 1, None
    async for block in read_log(store, after, head):
        for event in block:
            if event.position != expected:
                forgotten = event.at
            expected = event.position + 1
    return forgotten


class Mark(msgspec.Struct, frozen=True):
    """At `position` a kernel kept time and had come to a fire of `due`; what was due before has its outcome by then.

    It holds because the timetable is a heap: it comes to the fires of all jobs in their order.
    """

    due: datetime
    position: int


async def newest_marks(store: Store, after: int, head: int) -> list[Mark]:
    """Find the last moments at which a kernel surely kept time, in the newest block of the log that has one."""
    while head > after:
        block = await store.read(max(head - BLOCK, after), BLOCK)
        if marks := list(_marks(block, head)):
            return marks
        head -= BLOCK
    return []


def _marks(block: Iterable[Event], head: int) -> Iterator[Mark]:
    begun: FireOutcome | None = None
    before: FireOutcome | None = None
    for event in block:
        entry = entry_of(event)
        if entry is None or event.position > head:
            continue
        # One decision makes several entries, and its place on the heap is that of its first fire.
        goes_on = before is not None and before.job_id == entry.job_id and entry.at - before.at < ONE_DECISION
        begun = begun if goes_on else entry
        before = entry
        # Fires of a schedule that goes away are missed outside of the order, and so are those that a pause held back.
        if begun is not None and begun.missed not in {"downtime", "paused"}:
            yield Mark(begun.first, entry.position)


async def newest_before(store: Store, job_id: str, moment: datetime, head: int) -> FireOutcome | None:
    """Return the newest outcome of a fire before a moment; only what was recorded before it as well is looked at."""
    window, until = timedelta(hours=1), moment
    while until > moment - LONGEST_LOOK_BACK:
        block = await store.job_events(job_id, until - window, until)
        entries = (entry_of(event) for event in reversed(block) if event.position <= head)
        if (found := next((e for e in entries if e is not None and e.last < moment), None)) is not None:
            return found
        until, window = until - window, window * 4
    return None


async def outcome_of(store: Store, job_id: str, fire: datetime, head: int) -> FireOutcome | None:
    """Return the outcome of a fire, or of the first one after it; None where the log has neither.

    A fire in a range that was missed together has no execution of its own, so the log is read on from the fire.
    """
    async for block in read_job(store, job_id, fire, head):
        for event in block:
            if (entry := entry_of(event)) is not None and entry.last >= fire:
                return entry
    return None


async def silence_around(store: Store, moment: datetime, head: int) -> tuple[Event | None, Event | None]:
    """Return the last event before a moment and the first one at or after it: in between the log is silent."""
    position = await position_at(store, moment, head)
    before = await last_event(store, position)
    after = [event for event in await store.read(position, 1) if event.position <= head]
    return before, after[0] if after else None
