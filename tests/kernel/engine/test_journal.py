import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from gnomon.domain import events, execution
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.engine.journal import LONGEST_REST_S, Journal
from gnomon.errors import ConflictError, DeposedError, GnomonError, StoreUnavailableError, TransitionError
from gnomon.testing import RecordingStore, VirtualClock, check_store
from gnomon.testing.clock import START

RUN = execution.execution_id("job", START)
OTHER = execution.execution_id("other", START)


class TryingStore(RecordingStore):
    """Fails as told, and waits in `append` for as long as its gate is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.problem: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        self.batches.append([event.type for event in events])
        await self.gate.wait()
        if self.problem is not None:
            raise self.problem
        await super().append(events, executions, jobs)


@pytest.fixture
async def store() -> AsyncIterator[TryingStore]:
    async with TryingStore() as store:
        yield store


@pytest.fixture
def published() -> list[Event]:
    return []


@pytest.fixture
async def journal(store: TryingStore, published: list[Event], gnomon_clock: VirtualClock) -> AsyncIterator[Journal]:
    journal = Journal(store, gnomon_clock, "test", published.extend)
    gnomon_clock.is_idle = lambda: True
    await journal.start()
    task = asyncio.create_task(journal.run())
    yield journal
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def schedule(journal: Journal, stream: str = RUN) -> events.Scheduled:
    return journal.record(events.Scheduled, stream, "job", scheduled_time=START, is_manual=True)


def start(journal: Journal, stream: str = RUN) -> events.Started:
    return journal.record(events.Started, stream, "job", runner="async")


def add_job(journal: Journal, job_id: str = "job") -> None:
    journal.record(events.JobAdded, events.job_stream(job_id), job_id, definition={"id": job_id})


async def durable(journal: Journal) -> None:
    await asyncio.shield(journal.durable())


# --- writing


async def test_what_is_recorded_together_is_appended_together_and_then_published(
    journal: Journal, store: TryingStore, published: list[Event]
) -> None:
    add_job(journal)
    schedule(journal)
    start(journal)
    assert published == []

    await durable(journal)

    assert store.batches == [["job_added", "scheduled", "started"]]
    assert [event.position for event in published] == [1, 2, 3]
    assert journal.head == 3
    await check_store(store)


async def test_what_is_recorded_during_an_append_makes_one_more(
    journal: Journal, store: TryingStore, gnomon_clock: VirtualClock
) -> None:
    store.gate.clear()
    schedule(journal)
    await gnomon_clock.settle()
    for n in range(5):
        schedule(journal, execution.execution_id(f"job{n}", START))
    assert (journal.backlog, journal.is_idle) == (6, False)

    store.gate.set()
    await durable(journal)

    assert [len(batch) for batch in store.batches] == [1, 5]
    assert (journal.backlog, journal.is_idle) == (0, True)


async def test_events_that_come_soon_after_a_slow_commit_share_the_next_one(
    journal: Journal, store: TryingStore, gnomon_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests, has_rested, sleep = [], asyncio.Event(), asyncio.sleep

    async def rest(seconds: float) -> None:
        if seconds == 0:
            await sleep(0)
        else:
            rests.append(seconds)
            await has_rested.wait()

    monkeypatch.setattr(asyncio, "sleep", rest)
    store.gate.clear()
    schedule(journal)
    await gnomon_clock.settle()
    await sleep(0.01)  # a commit takes its time
    store.gate.set()
    await durable(journal)
    for n in range(3):
        schedule(journal, execution.execution_id(f"job{n}", START))
        await sleep(0)
    has_rested.set()

    await durable(journal)

    assert rests[0] == LONGEST_REST_S

    assert [len(batch) for batch in store.batches] == [1, 3]


async def test_a_view_is_stored_as_it_was_when_its_batch_was_appended(
    journal: Journal, store: TryingStore, gnomon_clock: VirtualClock
) -> None:
    store.problem = StoreUnavailableError("away")
    schedule(journal)
    await gnomon_clock.settle()
    start(journal)  # changes the live view while the first batch is tried again
    seen: list[Any] = []
    original = RecordingStore.append

    async def remember(store: RecordingStore, batch: Any, executions: Sequence[Execution], jobs: Any) -> None:
        seen.append([view.status for view in executions])
        await original(store, batch, executions, jobs)

    store.problem = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordingStore, "append", remember)
        await gnomon_clock.advance(60)
        await durable(journal)

    assert seen == [["scheduled"], ["running"]]


async def test_the_fires_of_a_job_move_its_state_on(journal: Journal, store: TryingStore) -> None:
    add_job(journal)
    journal.record(events.Scheduled, RUN, "job", scheduled_time=START)

    await durable(journal)

    (state,) = await store.jobs()
    assert state.last_fire == START


# --- what is refused


async def test_an_illegal_transition_changes_nothing(journal: Journal, store: TryingStore) -> None:
    schedule(journal)
    await durable(journal)

    with pytest.raises(TransitionError):
        journal.record(events.Succeeded, RUN, "job", execution_time=1.0)

    assert journal.live[RUN].status == "scheduled"
    assert (journal.backlog, journal.is_idle) == (0, True)
    await durable(journal)
    start(journal)
    await durable(journal)
    assert [event.type for event in await check_store(store)] == ["scheduled", "started"]


async def test_a_history_cannot_begin_in_the_middle(journal: Journal) -> None:
    with pytest.raises(TransitionError):
        start(journal)

    assert journal.live == {}
    await durable(journal)


@pytest.mark.parametrize("unwritable", ["half a character: \ud800", object(), {1, object()}])
async def test_what_no_store_could_write_is_refused_to_whoever_says_it(journal: Journal, unwritable: Any) -> None:
    schedule(journal)

    with pytest.raises(GnomonError, match="cannot be written as JSON"):
        journal.record(events.CancelRequested, RUN, "job", actor=unwritable)

    assert journal.live[RUN].version == 1
    await durable(journal)


# --- a store that is away


async def test_while_the_store_is_away_everything_is_kept_in_order_and_written_later(
    journal: Journal, store: TryingStore, published: list[Event], gnomon_clock: VirtualClock
) -> None:
    store.problem = StoreUnavailableError("disk full")
    with capture_logs() as logs:
        schedule(journal)
        await gnomon_clock.advance(30)
        start(journal)
        schedule(journal, OTHER)
        waiting = asyncio.ensure_future(durable(journal))
        await gnomon_clock.advance(30)

        assert (journal.state, journal.problem, journal.backlog) == ("degraded", "disk full", 3)
        assert (published, waiting.done()) == ([], False)

        store.problem = None
        await gnomon_clock.advance(10)

    await waiting
    assert (journal.state, journal.problem, journal.backlog) == ("healthy", None, 0)
    assert [event.type for event in await check_store(store)] == ["scheduled", "started", "scheduled"]
    assert published == store.recorded
    told = [(line["event"], line["log_level"]) for line in logs if line["log_level"] != "debug"]
    assert told == [("store unavailable", "error"), ("store available again", "info")]


async def test_a_store_that_stays_away_is_not_asked_all_the_time(
    journal: Journal, store: TryingStore, gnomon_clock: VirtualClock
) -> None:
    store.problem = StoreUnavailableError("away")
    with capture_logs():
        schedule(journal)
        await gnomon_clock.advance(60)

    assert 10 < len(store.batches) < 20


# --- a log that another kernel owns


async def test_a_conflict_deposes_the_journal_and_whoever_waits_is_told(
    journal: Journal, store: TryingStore, gnomon_clock: VirtualClock
) -> None:
    store.problem = ConflictError(RUN, 1, 1)
    with capture_logs() as logs:
        schedule(journal)
        first = asyncio.ensure_future(durable(journal))
        watching = asyncio.ensure_future(journal.changed(RUN))
        await gnomon_clock.settle()

    for waiting in (first, watching):
        with pytest.raises(DeposedError, match="another kernel"):
            await waiting
    with pytest.raises(DeposedError):
        start(journal)
    with pytest.raises(DeposedError):
        await journal.changed(RUN)
    assert journal.state == "deposed"
    assert [(line["log_level"], line["lost_events"]) for line in logs] == [("critical", 1)]


@pytest.mark.parametrize("problem", [None, StoreUnavailableError("away"), ConflictError(RUN, 1, 1)])
async def test_a_log_that_is_lost_during_an_append_stays_lost(
    journal: Journal,
    store: TryingStore,
    published: list[Event],
    gnomon_clock: VirtualClock,
    problem: Exception | None,
) -> None:
    store.gate.clear()
    schedule(journal)
    waiting = asyncio.create_task(durable(journal))
    await gnomon_clock.settle()

    await journal.lose("the lease went to another kernel")
    store.problem = problem
    store.gate.set()
    with pytest.raises(DeposedError, match="went to another kernel"):
        await waiting
    await gnomon_clock.settle()

    assert (journal.state, journal.problem) == ("deposed", "the lease went to another kernel")
    assert (journal.head, published) == (0, [])
    assert journal.is_idle
    assert len(store.batches) == 1  # it did not try again


async def test_what_was_recorded_behind_the_conflict_is_refused_too(
    journal: Journal, store: TryingStore, gnomon_clock: VirtualClock
) -> None:
    store.gate.clear()
    schedule(journal)
    await gnomon_clock.settle()
    start(journal)
    behind = asyncio.ensure_future(durable(journal))
    store.problem = ConflictError(RUN, 1, 1)

    with capture_logs():
        store.gate.set()
        with pytest.raises(DeposedError):
            await behind

    assert store.recorded == []


async def test_a_journal_that_is_stopped_leaves_nobody_waiting(store: TryingStore, gnomon_clock: VirtualClock) -> None:
    journal = Journal(store, gnomon_clock, "test")
    store.gate.clear()
    task = asyncio.create_task(journal.run())
    schedule(journal)
    await asyncio.sleep(0)
    first = journal.durable()
    start(journal)
    second, watching = journal.durable(), asyncio.ensure_future(journal.changed(RUN))
    await asyncio.sleep(0)

    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    for waiting in (first, second, watching):
        with pytest.raises(DeposedError, match="stopped"):
            await waiting
    with pytest.raises(DeposedError, match="stopped"):
        start(journal)
