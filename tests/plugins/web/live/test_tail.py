"""The tail of the log: bounded, encoded once, shared by fast readers; slow readers use the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from gnomon import Event, Progress
from gnomon.domain.codec import encode
from gnomon_web.live import tail
from gnomon_web.live.tail import Tail

AT = datetime(2026, 1, 1, tzinfo=UTC)


def progress(position: int, message: str = "") -> Progress:
    return Progress(position=position, stream="run", version=position, at=AT, node="a", job_id="job", message=message)


class FakeKernel:
    """A log that can be read, and counts how often it is."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.log = list(events)
        self.reads = 0

    async def events(self, after: int = 0, limit: int = 1000) -> list[Event]:
        self.reads += 1
        return [event for event in self.log if event.position > after][:limit]


@pytest.fixture
def log() -> list[Event]:
    return [progress(position) for position in range(1, 101)]


@pytest.fixture
def kernel(log: list[Event]) -> FakeKernel:
    return FakeKernel(log)


async def filled(kernel: Any, events: Sequence[Event], head: int = 0) -> Tail:
    made = Tail(kernel, head)
    made.publish(events)
    await made.reach(events[-1].position)
    return made


def positions(part: tail.Slice) -> list[int]:
    return [entry.position for entry in part.entries]


async def test_readers_at_one_position_share_one_slice_and_its_frames(kernel: FakeKernel, log: list[Event]) -> None:
    made = await filled(kernel, log)
    calls: list[tail.Slice] = []

    def write(part: tail.Slice) -> bytes:
        calls.append(part)
        return b"frame"

    one, other = await made.read(50), await made.read(50)

    assert one is other
    assert one.frame("all", write) is other.frame("all", write)
    assert len(calls) == 1
    assert [entry.body for entry in one.entries] == [encode(event) for event in log[50:]]
    assert kernel.reads == 0


async def test_readers_that_resume_at_one_position_read_the_store_once(kernel: FakeKernel) -> None:
    made = Tail(kernel, 100)  # type: ignore[arg-type]

    slices = await asyncio.gather(*(made.read(20) for _ in range(50)))

    assert len({id(part) for part in slices}) == 1
    assert positions(slices[0]) == list(range(21, 101))
    assert kernel.reads == 1


async def test_events_published_twice_are_kept_once(kernel: FakeKernel, log: list[Event]) -> None:
    made = await filled(kernel, log[:60])
    made.publish(log[40:])
    await made.reach(100)

    assert positions(await made.read(0)) == list(range(1, 101))


async def test_only_the_newest_events_are_kept_and_the_store_has_the_others(
    kernel: FakeKernel, log: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "KEPT_EVENTS", 10)
    made = await filled(kernel, log)

    assert positions(await made.read(90)) == list(range(91, 101))
    assert kernel.reads == 0
    assert positions(await made.read(89)) == [90]
    assert positions(await made.read(0, limit=7)) == list(range(1, 8))
    assert kernel.reads == 2


async def test_large_events_are_kept_by_their_size(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "KEPT_BYTES", 10_000)
    large = [progress(position, "x" * 1_000) for position in range(1, 101)]
    made = await filled(kernel, large)

    assert 7 <= len(made._ring) <= 10
    assert made._bytes == sum(len(entry.body) for entry in made._ring) <= 10_000


async def test_a_reader_walks_from_the_store_into_the_tail_without_a_gap(
    kernel: FakeKernel, log: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "KEPT_EVENTS", 30)
    made = await filled(kernel, log)
    cursor, seen = 0, list[int]()
    while cursor < made.head:
        part = await made.read(cursor, limit=8)
        assert not part.has_gap()
        seen += positions(part)
        cursor = part.upto

    assert seen == list(range(1, 101))


async def test_a_slice_is_limited_in_bytes_but_has_at_least_one_event(kernel: FakeKernel, log: list[Event]) -> None:
    made = await filled(kernel, log)
    one = len(encode(log[9]))

    assert positions(await made.read(9, size=3 * one)) == [10, 11, 12]
    assert positions(await made.read(9, size=1)) == [10]
    assert (await made.read(9, size=1)).upto == 10


async def test_a_gap_between_two_positions_is_noticed(kernel: FakeKernel, log: list[Event]) -> None:
    kernel.log = [event for event in log if event.position not in range(20, 30)]
    made = Tail(kernel, 100)  # type: ignore[arg-type]

    assert (await made.read(10)).has_gap()
    assert (await made.read(25)).has_gap()
    assert not (await made.read(10)).has_gap(beyond=29)
    assert not (await made.read(29)).has_gap()
    kernel.log = []
    assert (await made.read(11)).has_gap()
    assert (await made.read(11)).upto == 100


async def test_events_of_many_commits_are_announced_together(kernel: FakeKernel, log: list[Event]) -> None:
    made = Tail(kernel, 0)  # type: ignore[arg-type]
    heads = []
    waiting = asyncio.create_task(made.reach(1))
    await asyncio.sleep(0)
    for event in log:
        made.publish([event])
        heads.append(made.head)
    await waiting

    assert set(heads) == {0}
    assert made.head == 100


async def test_reach_waits_for_a_future_position(kernel: FakeKernel, log: list[Event]) -> None:
    made = await filled(kernel, log[:50])

    ahead = await made.read(60)
    made.publish(log[50:])
    await made.reach(61)

    assert (ahead.upto, positions(ahead), ahead.has_gap()) == (60, [], False)
    assert positions(await made.read(60)) == list(range(61, 101))
