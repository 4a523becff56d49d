"""What the kernel does when its store is degraded: shows it, and starts nothing where the store has no room for it."""

from datetime import timedelta

import pytest

from gnomon import Job, Kernel
from gnomon.analysis.explain import explain
from gnomon.domain.events import KernelHeldUp, Missed
from gnomon.domain.records import StoreHealth
from gnomon.durations import Duration
from gnomon.engine import store_watch
from gnomon.stores.memory import MemoryStore
from gnomon.testing.clock import START, VirtualClock
from servers import eventually


class Degradable(MemoryStore):
    """A store that says of itself what a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.said = StoreHealth()
        self.asked = 0

    def health(self) -> StoreHealth:
        self.asked += 1
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
    monkeypatch.setattr("gnomon.engine.leader.HOUSEKEEPING_INTERVAL_S", 0.01)
    store = Degradable()
    store.said = StoreHealth("degraded", "the spool is full", accepts_runs=False)
    async with Kernel(store=store, jobs=[Job(id="sync", func=nothing)]) as running:
        waiting = (await running.trigger("sync")).execution

        assert (waiting.status, running.health().waiting) == ("scheduled", 1)

        store.said = StoreHealth()
        assert (await running.wait(waiting.id)).status == "success"


async def test_explain_and_misses_cite_why_a_store_accepted_no_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_watch, "CHECK_S", 0.001)
    clock, store = VirtualClock(), Degradable()
    async with Kernel(store=store, jobs=[Job(id="sync", func=nothing, every=Duration(seconds=10))], clock=clock):
        store.said = StoreHealth("degraded", "the log is cut off", accepts_runs=False)
        asked = store.asked
        await eventually(lambda: store.asked > asked + 2)  # only the watch asks while nothing happens
        await clock.advance(25)
        store.said = StoreHealth()
        await eventually(lambda: any(isinstance(event, KernelHeldUp) for event in store._log.values()))
        await clock.advance(10)

        fires = [await explain(store, "sync", START + timedelta(seconds=s), clock.now()) for s in (10, 20)]

    waited, skipped = [" ".join(found.sentences) for found in fires]
    assert "no run could start for 25.0 s: the log is cut off." in waited
    assert "the log is cut off" in skipped
    missed = next(event for event in store._log.values() if isinstance(event, Missed))
    assert str(missed.detail).endswith("and overlap is 'skip'; the log is cut off")
