"""The contract for changes of role: one store follows, leads, is replaced, and follows again."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gnomon.errors import StoreError
from gnomon.ports import Store
from gnomon.testing.histories import append, scheduled

PATIENCE_S = 60.0


class RoleContract:
    """Part of StoreContract; its fixture `store` is an open store with an empty log."""

    exclusive: bool
    readable_beside: bool

    def another(self, store: Store) -> Store:
        """Return a second store on the same log as `store`, not yet open."""
        raise NotImplementedError

    async def test_two_stores_lead_in_turn_and_nothing_is_left_of_it(self, store: Store) -> None:
        if not (self.exclusive and self.readable_beside):
            pytest.skip("this kind of store cannot be opened twice")
        leader, follower = store, self.another(store)
        await append(leader, scheduled())
        held: list[tuple[int, int]] = []

        for turn in range(4):
            await follower.open(read_only=True)
            assert await follower.head() == turn + 1
            free = asyncio.ensure_future(follower.wait_until_free())
            await append(leader, scheduled(f"turn{turn}"))
            await seen(follower, turn + 2)  # it answers while it waits
            assert not free.done()
            await leader.close()
            async with asyncio.timeout(PATIENCE_S):
                await free
            assert len(await follower.read()) == turn + 2  # it still answers
            with pytest.raises(StoreError):
                await append(follower, scheduled("too early"))
            await follower.close()
            await follower.open()
            assert follower.health().accepts_runs
            leader, follower = follower, leader
            held.append(await settled(held))

        assert max(held[2:]) <= max(held[:2]), "threads or tasks are left of each turn"
        assert await leader.head() == 5
        await leader.close()

    async def test_a_log_is_free_for_a_store_that_is_closed_or_reads(self, store: Store) -> None:
        if not (self.exclusive and self.readable_beside):
            pytest.skip("this kind of store cannot be opened twice")
        await append(store, scheduled())
        await store.close()

        waiting = self.another(store)
        async with asyncio.timeout(PATIENCE_S):
            await waiting.wait_until_free()
            await waiting.open(read_only=True)
            await waiting.wait_until_free()
        assert await waiting.head() == 1
        await waiting.close()

    async def test_a_wait_that_is_cancelled_leaves_the_store_open(self, store: Store) -> None:
        if not (self.exclusive and self.readable_beside):
            pytest.skip("this kind of store cannot be opened twice")
        await append(store, scheduled())
        reader = self.another(store)
        await reader.open(read_only=True)
        waiting = asyncio.ensure_future(reader.wait_until_free())
        assert await reader.head() == 1
        waiting.cancel()
        await asyncio.wait([waiting])

        assert waiting.cancelled()
        assert await reader.head() == 1
        await reader.close()

    async def test_a_reader_that_waits_for_events_reads_each_of_them(self, store: Store) -> None:
        if not (self.exclusive and self.readable_beside):
            pytest.skip("this kind of store cannot be opened twice")
        await append(store, scheduled())
        reader, read = self.another(store), list[int]()
        await reader.open(read_only=True)

        async def write() -> None:
            for number in range(6):
                await append(store, scheduled(f"job{number}"))
                while len(read) < number + number % 2:  # noqa: ASYNC110 - with and without a reader that waits
                    await asyncio.sleep(0.01)

        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            while len(read) < 7:
                events = await reader.read(read[-1] if read else 0)
                read += [event.position for event in events]
                if not events:
                    await reader.wait_for_events(read[-1])
        assert read == list(range(1, 8))
        await reader.close()


async def seen(store: Store, position: int) -> None:
    """Wait until a reader sees an event."""
    async with asyncio.timeout(PATIENCE_S):
        while await store.head() < position:  # noqa: ASYNC110 - another store changes it
            await asyncio.sleep(0.01)


async def settled(earlier: list[tuple[int, int]]) -> tuple[int, int]:
    """Return how many threads and tasks there are, once they are not more than in the first turns, if that happens."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            threads = sum(thread.name.startswith("gnomon") for thread in threading.enumerate())
            found = threads, len(asyncio.all_tasks())
            if len(earlier) < 2 or found <= max(earlier[:2]):
                return found
            await asyncio.sleep(0.05)  # of drivers some end a moment later
