"""The contract for the retention of facts about kernels: old ones are deleted, those that explain the rest stay."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.domain.records import ActionQuery
from gnomon.ports import Store
from gnomon.stores.reading import read_log
from gnomon.stores.schedule_versions import read_schedule_versions
from gnomon.testing.histories import NOON, SECOND, access_history, append, kernel_history, scheduled, succeeded

DAY = timedelta(days=1)
LIMIT = NOON + 10 * DAY


def kernel_id(number: int) -> str:
    """Return the id of a kernel of these tests."""
    return f"{number:024x}"


def stream_of(number: int) -> str:
    """Return the stream of a kernel of these tests."""
    return events.kernel_stream(kernel_id(number))


def crashes(numbers: Iterable[int], zone_data: str = "2025a") -> list[list[Event]]:
    """Return the facts of kernels that started an hour after each other, and were killed."""
    versions = {"zone data": zone_data}
    return [kernel_history(NOON + n * timedelta(hours=1), kernel_id(n), versions=versions)[:1] for n in numbers]


class KernelContract:
    """Part of StoreContract; its fixture `store` is an open store with an empty log."""

    async def test_facts_of_kernels_before_the_retention_are_deleted(self, store: Store) -> None:
        newest = kernel_history(LIMIT + DAY, "f" * 24)
        await append(store, *crashes(range(5)), scheduled(at=NOON), newest)

        assert await store.prune(LIMIT) == 0

        left = [event.stream for event in await store.read() if isinstance(event, events.KernelEvent)]
        assert left == [stream_of(4), *[event.stream for event in newest]]
        assert await store.stream(stream_of(3)) == []
        assert [event.position for event in await store.read()] == list(range(5, 7 + len(newest)))

    async def test_a_crash_loop_of_hundreds_of_kernels_is_deleted_and_the_log_goes_on(self, store: Store) -> None:
        await append(store, *crashes(range(230)), succeeded(at=NOON))

        assert await store.prune(NOON + 100 * DAY) == 1
        assert await store.prune(NOON + 100 * DAY) == 0

        assert [event.stream for event in await store.read()] == [stream_of(229)]
        assert await store.head() == 233
        (added,) = await append(store, kernel_history(NOON + 100 * DAY, "f" * 24)[:1])
        assert [event.position for event in await store.read()] == [230, added.position]

    async def test_logins_before_the_retention_are_deleted_with_their_acts(self, store: Store) -> None:
        """Also those of the kernel that is still running, day by day; its start stays."""
        running = kernel_history(NOON, kernel_id(1))[:1]
        old, limit, new = (access_history(at, kernel_id(1)) for at in (NOON, LIMIT, LIMIT + DAY))
        foreign = access_history(NOON + DAY, kernel_id(0))
        await append(store, foreign, running, old, limit, new)
        acts = await store.actions(ActionQuery())

        assert await store.prune(LIMIT + timedelta(hours=1)) == 0

        left = {event.stream for event in await store.read()}
        assert left == {running[0].stream, limit[0].stream, new[0].stream}
        page = await store.actions(ActionQuery())
        assert page.items == [act for act in acts.items if act.at >= LIMIT]
        assert page.total == len(page.items) == acts.total // 2

    async def test_a_stream_of_a_kernel_is_deleted_as_a_whole_or_not_at_all(self, store: Store) -> None:
        started = kernel_history(NOON, kernel_id(1))[:2]
        facts = [*started, *kernel_history(LIMIT, kernel_id(1))[2:]]
        await append(store, *crashes([0]), facts, *crashes([500]))

        await store.prune(LIMIT)

        assert [event.type for event in await store.stream(stream_of(1))] == [
            "kernel_started",
            "clock_changed",
            "kernel_stopped",
        ]
        assert await store.stream(stream_of(0)) == []

    async def test_a_kernel_that_has_long_been_running_keeps_its_start(self, store: Store) -> None:
        await append(store, *crashes(range(3)))

        await store.prune(NOON + 1000 * DAY)

        assert [event.stream for event in await store.read()] == [stream_of(2)]

    async def test_the_newest_kernel_is_the_last_in_the_log_whatever_the_clock_was(self, store: Store) -> None:
        ahead = kernel_history(NOON + 999 * DAY, kernel_id(7))[:1]
        await append(store, ahead, *crashes([1]))

        await store.prune(NOON + 1000 * DAY)

        assert [event.stream for event in await store.read()] == [stream_of(7), stream_of(1)]

    async def test_versions_in_force_at_the_retention_are_kept(self, store: Store) -> None:
        """A kernel that keeps no time, as of `gnomon exec`, computes no fires."""
        executing = kernel_history(NOON + 5 * DAY, "e" * 24, keeps_time=False)
        newest = kernel_history(LIMIT + DAY, "f" * 24, versions={"zone data": "2026a"})
        await append(store, *crashes(range(3), "2024a"), *crashes(range(3, 6)), executing, newest)
        before = await read_schedule_versions(store, LIMIT)
        assert [one.versions["zone data"] for one in before] == ["2025a", "2026a"]

        await store.prune(LIMIT)

        assert await read_schedule_versions(store, LIMIT) == before
        assert [event.stream async for block in read_log(store, 0, await store.head()) for event in block] == [
            stream_of(5),
            *[event.stream for event in executing],
            *[event.stream for event in newest],
        ]

    async def test_nothing_is_deleted_of_kernels_within_the_retention(self, store: Store) -> None:
        batch = await append(store, *crashes(range(4)), access_history(NOON + SECOND, kernel_id(1)))

        assert await store.prune(NOON) == 0

        assert await store.read() == batch
