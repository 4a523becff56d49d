"""Watches the store, also while nothing is written: it may lose its log, or accept no runs for a time."""

from __future__ import annotations

from gnomon.domain.records import StoreHealth
from gnomon.engine.journal import Journal
from gnomon.engine.kernel_facts import KernelFacts
from gnomon.plugins.store_health import health_of
from gnomon.ports import Clock, Store
from gnomon.text import length
from gnomon.ticks import next_tick

CHECK_S = 0.5
SHORTEST_HOLD_S = 1.0
"""The shortest time without starts that is recorded as a fact. `explain` cites it for the runs that waited."""


class StoreWatch:
    """Tells the journal when the log is lost, and records for how long the store accepted no runs, and why."""

    def __init__(self, store: Store, journal: Journal, facts: KernelFacts, clock: Clock) -> None:
        self._store = store
        self._journal = journal
        self._facts = facts
        self._clock = clock
        self._since: float | None = None
        self._problem = ""

    async def run(self) -> None:
        """Check the health of the store until cancelled: a component of the kernel."""
        while True:
            await next_tick(CHECK_S)  # real time, because others change the log in real time
            health = health_of(self._store)
            if health.state == "lost":
                await self._journal.lose(health.problem or "the store has lost its log")
            else:
                self._note(health)

    def _note(self, health: StoreHealth) -> None:
        now = self._clock.monotonic()
        if not health.accepts_runs:
            self._since = now if self._since is None else self._since
            self._problem = health.problem or f"the store {self._store.name} accepted none"
        elif self._since is not None:
            seconds, self._since = now - self._since, None
            if seconds >= SHORTEST_HOLD_S:
                detail = f"no run could start for {length(seconds)}: {self._problem}"
                self._facts.held_up("cut_off", seconds, self._clock.now(), detail)
