"""The tail of a log: how often it reads, who wakes it, and that no event is left out. Counted, not timed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gnomon.domain.events import Event
from gnomon.errors import StoreUnavailableError
from gnomon.following import log_tail
from gnomon.following.log_tail import LONGEST_S, SHORTEST_S, LogTail, rest_after
from gnomon.testing.histories import append, scheduled
from gnomon_sqlite import SqliteStore
from gnomon_sqlite.file import mark_watch

PATIENCE_S = 60.0


class CountedLog(SqliteStore):
    """Counts the reads of the tail, and can be away."""

    reads = 0
    is_away = False

    async def read(self, after: int = 0, limit: int = 1000) -> list[Event]:
        self.reads += 1
        if self.is_away:
            raise StoreUnavailableError("away")
        return await super().read(after, limit)


class SilentLog(CountedLog):
    """Never says that there are events."""

    async def wait_for_events(self, after: int) -> None:
        await asyncio.Event().wait()


class Looks:
    """Counts the looks at the mark, without the pauses between them; the time after which the log is read is far."""

    def __init__(self) -> None:
        self.count = 0

    async def pause(self, _interval_s: float) -> None:
        self.count += 1
        await asyncio.sleep(0)

    async def pass_by(self, count: int) -> None:
        await until(lambda goal=self.count + count: self.count >= goal)  # type: ignore[misc]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    found = Looks()
    monkeypatch.setattr(mark_watch, "next_tick", found.pause)
    monkeypatch.setattr(mark_watch, "LONGEST_S", 1e9)
    return found


@pytest.fixture
async def leader(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "log.db") as store:
        await append(store, scheduled())
        yield store


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - a store in other threads changes it
            await asyncio.sleep(0)


@asynccontextmanager
async def tailing(store: CountedLog, seen: list[int]) -> AsyncIterator[LogTail]:
    """Follow the log from its beginning, and note the positions that are offered."""
    await store.open(read_only=True)

    def note(events: Sequence[Event]) -> None:
        seen.extend(event.position for event in events)

    tail = LogTail(store, note)
    task = asyncio.create_task(tail.run())
    try:
        yield tail
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await store.close()


async def test_a_slow_store_is_read_for_a_fifth_of_the_time_at_most() -> None:
    assert rest_after(0.001) < SHORTEST_S
    assert rest_after(0.02) == pytest.approx(0.08)
    assert rest_after(30.0) == LONGEST_S


async def test_a_tail_does_not_read_while_nothing_is_appended(leader: SqliteStore, looks: Looks) -> None:
    store, seen = CountedLog(leader.path), list[int]()
    async with tailing(store, seen):
        await until(lambda: seen == [1])
        await looks.pass_by(20)  # the looks after an event are over
        reads = store.reads

        await looks.pass_by(300)
        assert store.reads == reads

        for number in range(3):
            await append(leader, scheduled(f"job-{number}"))
            await until(lambda position=number + 2: seen[-1] == position)  # type: ignore[misc]
    assert seen == [1, 2, 3, 4]


async def test_a_tail_reads_every_event_however_the_appends_fall_between_the_looks(
    leader: SqliteStore, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tail, "SHORTEST_S", 1.0)  # longer than LONGEST_S: the mark alone says when to read
    store, seen = CountedLog(leader.path), list[int]()
    async with tailing(store, seen):
        for number in range(60):
            for _ in range(number % 4):
                await asyncio.sleep(0)
            await append(leader, scheduled(f"job-{number}"))
        await until(lambda: seen and seen[-1] == 61)
    assert seen == list(range(1, 62))


async def test_a_log_without_a_readable_mark_is_read_at_each_look(leader: SqliteStore, looks: Looks) -> None:
    store, seen = CountedLog(leader.path), list[int]()
    async with tailing(store, seen):
        await until(lambda: seen == [1])
        leader._mark.path.unlink()
        leader._mark.path.mkdir()
        await append(leader, scheduled("second"))
        await until(lambda: seen == [1, 2])
        leader._mark.path.rmdir()


async def test_a_log_whose_mark_stays_behind_is_read_all_the_same(
    leader: SqliteStore, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader._mark, "write", lambda _: None)  # as after a kill between the commit and the mark
    monkeypatch.setattr(mark_watch, "LONGEST_S", 0.0)
    store, seen = CountedLog(leader.path), list[int]()
    async with tailing(store, seen):
        await until(lambda: seen == [1])
        await append(leader, scheduled("second"))
        await until(lambda: seen == [1, 2])


@pytest.mark.parametrize("wake", ["an order was answered", "a stream is watched"])
async def test_a_tail_looks_at_once_where_events_are_about_to_come(leader: SqliteStore, wake: str) -> None:
    store, seen = SilentLog(leader.path), list[int]()
    async with tailing(store, seen) as tail:
        await until(lambda: seen == [1])
        await until(lambda: tail._waiting is not None)
        await append(leader, scheduled("second"))
        if wake == "an order was answered":
            tail.wake()
            tail.wake()
            await until(lambda: seen == [1, 2])
        else:
            (event,) = await leader.read(1)
            await tail.watch(event.stream)
    assert seen == [1, 2]


async def test_a_tail_reports_a_store_that_is_away_and_goes_on(
    leader: SqliteStore, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tail, "AWAY_S", 0.0)
    store, seen = CountedLog(leader.path), list[int]()
    async with tailing(store, seen) as tail:
        await until(lambda: seen == [1])
        store.is_away = True
        tail.wake()
        await until(lambda: tail.problem)
        await append(leader, scheduled("second"))
        assert seen == [1]
        store.is_away = False
        await until(lambda: seen == [1, 2])
        assert tail.problem is None
