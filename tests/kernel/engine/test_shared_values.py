"""What processes on a log agree on: checkpoints that replace one position, and claims to limited uses of a name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon import GnomonError, Kernel, StoreUnavailableError
from gnomon.domain.records import Checkpoint, StoreHealth
from gnomon.engine import claims
from gnomon.engine.claims import Claims
from gnomon.stores.memory import MemoryStore
from gnomon.testing import VirtualClock
from gnomon_sqlite import SqliteStore

MINUTE = 60.0


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Kernel, Kernel]]:
    """Start two kernels on one log: the one that leads, and one that follows."""
    async with AsyncExitStack() as stack:
        kernels = [Kernel(store=SqliteStore(tmp_path / "log.db"), role=role) for role in ("leader", "follower")]
        for kernel in kernels:
            await stack.enter_async_context(kernel)
        yield kernels[0], kernels[1]


async def add(kernel: Kernel, word: bytes) -> None:
    """Add a word to a view that several processes change."""
    while True:
        kept = await kernel.checkpoint("words") or Checkpoint(0, b"")
        longer = Checkpoint(kept.position + 1, (kept.view or b"") + word)
        if await kernel.save_checkpoint("words", longer, replaces=kept.position):
            return


async def test_no_change_of_a_shared_view_is_lost(both: tuple[Kernel, Kernel]) -> None:
    words = [f"{number:03}".encode() for number in range(40)]

    await asyncio.gather(*(add(both[number % 2], word) for number, word in enumerate(words)))

    kept = await both[1].checkpoint("words")
    assert kept is not None
    assert kept.position == len(words)
    assert sorted((kept.view or b"")[at : at + 3] for at in range(0, 3 * len(words), 3)) == words


async def test_a_view_that_was_changed_meanwhile_is_not_replaced(both: tuple[Kernel, Kernel]) -> None:
    leader, follower = both
    assert await leader.save_checkpoint("view", Checkpoint(3, b"leader"), replaces=0)

    assert not await follower.save_checkpoint("view", Checkpoint(4, b"follower"), replaces=0)
    assert await leader.checkpoint("view") == Checkpoint(3, b"leader")
    assert await follower.save_checkpoint("view", Checkpoint(4, b"follower"), replaces=3)
    assert await follower.save_checkpoint("view", Checkpoint(4, b"follower"), replaces=3)  # repeated: it is there


async def test_a_view_that_the_store_keeps_aside_is_not_shared(gnomon_kernel: Callable[..., Any]) -> None:
    class Spooling(MemoryStore):
        def health(self) -> StoreHealth:
            spooled = bool(self._checkpoints)
            return StoreHealth("degraded", "it is away", backlog=1) if spooled else StoreHealth()

    async with gnomon_kernel(store=Spooling()) as kernel:
        with pytest.raises(StoreUnavailableError, match="'view' is not shared yet: it is away"):
            await kernel.save_checkpoint("view", Checkpoint(1, b""), replaces=0)
        assert await kernel.checkpoint("view") == Checkpoint(1, b"")


async def test_uses_count_over_all_processes(both: tuple[Kernel, Kernel]) -> None:
    leader, follower = both
    first = [await kernel.claim("ann", limit=3, period_s=MINUTE) for kernel in (leader, follower, leader)]
    waits = [await kernel.claim("ann", limit=3, period_s=MINUTE) for kernel in both]
    looks = [await kernel.claim("ann", limit=3, period_s=MINUTE, uses=0) for kernel in both]
    others = [await follower.claim("bob", period_s=MINUTE, uses=uses) for uses in (0, 0, 1)]

    assert (first, others) == ([0.0] * 3, [0.0] * 3)
    assert all(0 < wait <= 60 for wait in (*waits, *looks))


@pytest.mark.parametrize(("limit", "seconds"), [(0, 1), (1, 0)])
async def test_a_claim_without_a_use_or_a_period_is_refused(
    gnomon_kernel: Callable[..., Any], limit: int, seconds: int
) -> None:
    async with gnomon_kernel() as kernel:
        with pytest.raises(GnomonError, match="claim 'ann': limit and period_s must be greater than 0"):
            await kernel.claim("ann", limit=limit, period_s=seconds)
        with pytest.raises(GnomonError, match="claim 'ann': uses must be 1, or 0 to look, got 2"):
            await kernel.claim("ann", period_s=MINUTE, uses=2)


async def test_a_use_is_free_again_after_its_period() -> None:
    clock = VirtualClock()
    counted = Claims(clock)
    assert [counted.claim("ann", 2, 60.0) for _ in range(3)] == [0.0, 0.0, 60.0]

    await clock.advance(timedelta(seconds=59))
    assert counted.claim("ann", 2, 60.0) == pytest.approx(1.0)
    await clock.advance(timedelta(seconds=1))
    assert [counted.claim("ann", 2, 60.0) for _ in range(3)] == [0.0, 0.0, 60.0]


def test_the_names_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "MOST_NAMES", 2)
    counted = Claims(VirtualClock())

    assert [counted.claim(name, 1, 60.0) for name in ("ann", "bob", "cid", "bob")] == [0.0, 0.0, 0.0, 60.0]
    assert counted.claim("ann", 1, 60.0) == 0.0
