"""The outcomes of fires in the log, one for each run or missed range, read in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from gnomon.domain import events
from gnomon.domain.events import Event, MissedReason
from gnomon.ports import Store
from gnomon.stores.reading import BLOCK, read_log

FIRST_WINDOW, LONGEST_WINDOW = timedelta(minutes=10), timedelta(days=1)
"""Length of time of which the events of one job are read at once; shorter where there are many, to bound memory."""
LONGEST_LOOK_BACK = timedelta(days=10 * 366)
EVER = datetime.max.replace(tzinfo=UTC)
ONE_DECISION = timedelta(seconds=1)


class FireOutcome(msgspec.Struct, frozen=True):
    """The outcome of a fire, or of `count` consecutive fires from `first` to `last` that were missed."""

    job_id: str
    first: datetime
    last: datetime
    count: int
    execution_id: str
    position: int
    at: datetime
    missed: MissedReason | None = None


def read_outcome(event: Event) -> FireOutcome | None:
    """Return the outcome that an event gives to fires; None for other events, such as those of manual runs."""
    if not event.is_fire:
        return None
    if isinstance(event, events.Scheduled):
        fire = event.scheduled_time
        return FireOutcome(event.job_id, fire, fire, 1, event.stream, event.position, event.at)
    if isinstance(event, events.Missed):
        first, last = event.first_fire, event.last_fire
        return FireOutcome(event.job_id, first, last, event.count, event.stream, event.position, event.at, event.reason)
    return None


async def read_job(store: Store, job_id: str, since: datetime, head: int) -> AsyncIterator[Sequence[Event]]:
    """Read the events of one job from a moment on, in windows as long as memory allows."""
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
    """Return the newest event at or before a position; the one at the position itself may have been pruned."""
    step = 1
    while head > 0:
        if block := await store.read(max(head - step, 0), step):
            return next((event for event in reversed(block) if event.position <= head), None)
        if step >= head:
            return None
        step *= 4
    return None


async def position_at(store: Store, moment: datetime, head: int) -> int:
    """Return the last position that was written before a moment, by the times in the log; 0 if there is none."""
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
    """Return the time up to which outcomes may have been pruned: without pruning, positions are contiguous."""
    expected, pruned = after + 1, None
    async for block in read_log(store, after, head):
        for event in block:
            if event.position != expected:
                pruned = event.at
            expected = event.position + 1
    return pruned


class Watermark(msgspec.Struct, frozen=True):
    """Evidence that a kernel had decided all fires before `due` when it wrote `position`.

    This holds because the timetable is a heap: it decides the fires of all jobs in order of time.
    """

    due: datetime
    position: int


async def newest_watermarks(store: Store, after: int, head: int) -> list[Watermark]:
    """Return the watermarks in the newest block of the log that has any."""
    while head > after:
        block = await store.read(max(head - BLOCK, after), BLOCK)
        if watermarks := list(_watermarks(block, head)):
            return watermarks
        head -= BLOCK
    return []


def _watermarks(block: Iterable[Event], head: int) -> Iterator[Watermark]:
    first: FireOutcome | None = None
    before: FireOutcome | None = None
    for event in block:
        outcome = read_outcome(event)
        if outcome is None or event.position > head or outcome.first > outcome.at:
            continue  # where the clock was set back, a fire ahead of it tells nothing about other jobs
        # One decision can write several outcomes; the heap had it at the time of the first fire.
        same_decision = before is not None and before.job_id == outcome.job_id and outcome.at - before.at < ONE_DECISION
        first = first if same_decision else outcome
        before = outcome
        # Fires of a schedule that ends, and those held back by a pause, are missed out of order.
        if first is not None and first.missed not in {"downtime", "paused", "held"}:
            yield Watermark(first.first, outcome.position)


async def newest_outcome_before(store: Store, job_id: str, moment: datetime, head: int) -> FireOutcome | None:
    """Return the newest outcome of a fire before a moment among those that were also recorded before it."""
    window, until = timedelta(hours=1), moment
    while until > moment - LONGEST_LOOK_BACK:
        block = await store.job_events(job_id, until - window, until)
        outcomes = (read_outcome(event) for event in reversed(block) if event.position <= head)
        if (found := next((e for e in outcomes if e is not None and e.last < moment), None)) is not None:
            return found
        until, window = until - window, window * 4
    return None


async def find_outcome(store: Store, job_id: str, fire: datetime, head: int) -> FireOutcome | None:
    """Return the outcome of a fire, or of the first one after it; None if the log has neither.

    A fire within a missed range has no execution of its own, so the log is read from the time of the fire.
    """
    async for block in read_job(store, job_id, fire, head):
        for event in block:
            if (outcome := read_outcome(event)) is not None and outcome.last >= fire:
                return outcome
    return None


async def outcomes_between(store: Store, job_id: str, since: datetime, until: datetime, head: int) -> list[FireOutcome]:
    """Return the outcomes of the fires of a job from one moment to before another, in log order."""
    found: list[FireOutcome] = []
    async for block in read_job(store, job_id, since, head):
        outcomes = [outcome for event in block if (outcome := read_outcome(event)) is not None]
        found += (outcome for outcome in outcomes if outcome.first < until and outcome.last >= since)
        if any(outcome.first >= until for outcome in outcomes):
            break
    return found


async def silence_around(store: Store, moment: datetime, head: int) -> tuple[Event | None, Event | None]:
    """Return the last event before a moment and the first one at or after it."""
    position = await position_at(store, moment, head)
    before = await last_event(store, position)
    after = [event for event in await store.read(position, 1) if event.position <= head]
    return before, after[0] if after else None
