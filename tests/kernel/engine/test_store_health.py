"""What the kernel does when its store is degraded: shows it, and starts nothing where the store has no room for it."""

import pytest

from gnomon import Job, Kernel, kernel
from gnomon.domain.records import StoreHealth
from gnomon.stores.memory import MemoryStore


class Degradable(MemoryStore):
    """A store that says of itself what a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.said = StoreHealth()

    def health(self) -> StoreHealth:
        return self.said


async def nothing() -> None:
    pass


async def test_a_degraded_store_is_shown_and_its_backlog_counted() -> None:
    store = Degradable()
    async with Kernel(store=store, jobs=[Job(id="sync", func=nothing)]) as running:
        healthy = running.health()
        store.said = StoreHealth("degraded", "the server is away", backlog=7)

        health = running.health()

    assert (healthy.state, healthy.problem, healthy.backlog, healthy.accepts_runs) == ("healthy", None, 0, True)
    assert (health.state, health.problem, health.backlog, health.accepts_runs) == (
        "degraded",
        "the server is away",
        7,
        True,
    )


async def test_a_degraded_store_that_has_room_runs_jobs() -> None:
    store = Degradable()
    store.said = StoreHealth("degraded", "the server is away")
    async with Kernel(store=store, jobs=[Job(id="sync", func=nothing)]) as running:
        assert (await running.wait((await running.trigger("sync")).execution.id)).status == "success"


async def test_runs_wait_for_a_store_that_has_no_room_and_start_when_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "HOUSEKEEPING_INTERVAL_S", 0.01)
    store = Degradable()
    store.said = StoreHealth("degraded", "the spool is full", accepts_runs=False)
    async with Kernel(store=store, jobs=[Job(id="sync", func=nothing)]) as running:
        waiting = (await running.trigger("sync")).execution

        assert (waiting.status, running.health().waiting) == ("scheduled", 1)

        store.said = StoreHealth()
        assert (await running.wait(waiting.id)).status == "success"
