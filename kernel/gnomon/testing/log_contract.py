"""The contract for the log itself: events are preserved, in order, without gaps, and fenced."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gnomon.domain import codec, events, execution
from gnomon.domain.events import Event, UnknownEvent
from gnomon.domain.records import ExecutionQuery
from gnomon.errors import ConflictError, StoreError
from gnomon.ports import Store
from gnomon.testing.histories import (
    NOON,
    SECOND,
    append,
    every_type,
    failed,
    job_added,
    kernel_history,
    numbered,
    scheduled,
    succeeded,
    unknown,
)


class LogContract:
    """Part of StoreContract; its fixture `store` is an open store with an empty log."""

    async def test_an_empty_log_has_head_0_and_nothing_in_it(self, store: Store) -> None:
        assert await store.head() == 0
        assert await store.read() == []
        assert await store.stream("job:nobody") == []
        assert await store.execution("0" * 24) is None
        assert await store.jobs() == []
        assert await store.checkpoint("nobody") is None
        page = await store.executions(ExecutionQuery())
        assert (page.items, page.total, page.next) == ([], 0, None)

    async def test_every_event_type_is_preserved(self, store: Store) -> None:
        batch = await append(store, *every_type())

        kept = await store.read()

        assert {type(event) for event in batch} == {*events.ALL_EVENTS, UnknownEvent}
        assert [codec.encode(event) for event in kept] == [codec.encode(event) for event in batch]
        assert [type(event) for event in kept] == [type(event) for event in batch]
        assert await store.head() == len(batch)

    async def test_an_event_of_an_unknown_type_keeps_all_its_data(self, store: Store) -> None:
        await append(store, [unknown()])

        (kept,) = await store.read()
        assert isinstance(kept, UnknownEvent)
        assert kept.raw["type"] == "teleported"
        assert kept.raw["where"] == ["Mars", 4]

    async def test_facts_of_kernels_are_in_the_log_and_belong_to_no_job_and_no_run(self, store: Store) -> None:
        facts = kernel_history()
        await append(store, facts[:1], job_added(), succeeded())
        await append(store, facts[1:], kernel_history(NOON + 60 * SECOND, kernel_id="b" * 24))

        found = await store.job_events("", NOON, NOON + 61 * SECOND)

        assert [(event.stream[-1], event.version) for event in found] == [
            *(("a", one.version) for one in facts),
            ("b", 1),
        ]
        assert [event.version for event in await store.stream(facts[0].stream)] == [1, 2, 3]
        assert [state.job_id for state in await store.jobs()] == ["sync"]
        assert (await store.executions(ExecutionQuery())).total == 1
        assert {event.job_id for event in await store.job_events("sync", NOON, NOON + 61 * SECOND)} == {"sync"}

    async def test_reading_continues_after_a_position_in_pages(self, store: Store) -> None:
        batch = await append(store, *(succeeded("sync", NOON + n * SECOND) for n in range(5)))

        pages = [await store.read(after, 4) for after in (0, 4, 8, 12, 16)]

        assert [[event.position for event in page] for page in pages] == [
            [1, 2, 3, 4],
            [5, 6, 7, 8],
            [9, 10, 11, 12],
            [13, 14, 15],
            [],
        ]
        assert [event for page in pages for event in page] == batch

    async def test_a_stream_returns_its_own_events_in_order_of_version(self, store: Store) -> None:
        first, second = succeeded("sync"), failed("report")
        mixed = [event for pair in zip(first, second, strict=True) for event in pair]

        await append(store, mixed)

        assert [(event.version, event.type) for event in await store.stream(second[0].stream)] == [
            (1, "scheduled"),
            (2, "started"),
            (3, "failed"),
        ]

    async def test_a_batch_is_visible_whole_as_soon_as_append_returns(self, store: Store) -> None:
        history = succeeded()

        await append(store, job_added(), history)

        assert await store.head() == 4
        assert len(await store.read()) == 4
        assert (await store.executions(ExecutionQuery())).total == 1
        assert len(await store.jobs()) == 1

    async def test_an_empty_batch_changes_nothing(self, store: Store) -> None:
        await append(store, succeeded())

        await store.append([], [], [])

        assert await store.head() == 3

    async def test_readers_never_see_a_position_before_all_lower_ones(self, store: Store) -> None:
        batches = [numbered(succeeded("sync", NOON + n * SECOND), after=3 * n) for n in range(60)]
        done = asyncio.Event()

        async def read_on() -> int:
            reads = 0
            while not done.is_set():
                seen = [event.position for event in await store.read(limit=10_000)]
                assert seen == list(range(1, len(seen) + 1))
                assert await store.head() >= len(seen)
                reads += 1
                await asyncio.sleep(0)  # some stores answer without ever yielding to the loop
            return reads

        readers = [asyncio.ensure_future(read_on()) for _ in range(3)]
        for batch in batches:
            await store.append(batch, [execution.fold(batch)], [])
            await asyncio.sleep(0)
        done.set()

        assert all(await asyncio.gather(*readers))
        assert len(await store.read(limit=10_000)) == 180

    # Conflicts

    async def test_a_version_that_is_taken_is_a_conflict(self, store: Store) -> None:
        await append(store, scheduled())
        again = numbered(scheduled("other"), scheduled(), scheduled("third"), after=1)

        with pytest.raises(ConflictError) as caught:
            await store.append(again, [execution.begin(event) for event in again], [])

        assert (caught.value.stream, caught.value.version) == (again[1].stream, 1)
        await self._assert_nothing_from(store, again[1:])

    async def test_a_position_that_is_taken_is_a_conflict(self, store: Store) -> None:
        await append(store, scheduled())
        batch = numbered(scheduled("other"), scheduled("third"))

        with pytest.raises(ConflictError) as caught:
            await store.append(batch, [execution.begin(event) for event in batch], [])

        assert caught.value.position == 1
        await self._assert_nothing_from(store, batch)

    async def test_a_version_that_occurs_twice_in_a_batch_is_a_conflict(self, store: Store) -> None:
        batch = numbered(scheduled(), scheduled())

        with pytest.raises(ConflictError):
            await store.append(batch, [], [])

        assert len(await store.read()) <= 1

    async def test_a_gap_in_the_positions_is_refused(self, store: Store) -> None:
        await append(store, scheduled())
        batch = numbered(scheduled("other"), after=2)

        with pytest.raises(StoreError):
            await store.append(batch, [execution.begin(batch[0])], [])

        await self._assert_nothing_from(store, batch)

    async def test_the_log_continues_after_a_conflict(self, store: Store) -> None:
        await append(store, scheduled())
        with pytest.raises(ConflictError):
            await store.append(numbered(scheduled()), [], [])

        await append(store, scheduled("other"))

        assert [event.position for event in await store.read()] == [1, 2]

    async def _assert_nothing_from(self, store: Store, refused: Sequence[Event]) -> None:
        kept = await store.read()
        assert [event.position for event in kept] == list(range(1, len(kept) + 1))
        assert {event.job_id for event in kept}.isdisjoint({event.job_id for event in refused} - {"sync"})
        for event in refused:
            view = await store.execution(event.stream)
            assert view is None or event.job_id == "sync"
