"""Analyses of the log beside a kernel: they compute in a thread, and the loop of the kernel only reads for them.

An explanation computes fires with the triggers of jobs, which may take any time, and a comparison searches thousands of
log lines; the loop must not wait for either. A thread cannot be ended, so only a few run at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar, cast

from gnomon.domain.rollback import Loss
from gnomon.engine.loop_calls import call_on
from gnomon.errors import StoreUnavailableError
from gnomon.ports import Store
from gnomon.threads import ThreadPlaces

T = TypeVar("T")

AT_ONCE: Final = 2
LIMIT_S: Final = 20.0
READS: Final = frozenset(
    {"actions", "execution", "executions", "head", "job_events", "jobs", "log", "read", "statistics", "stream"}
)


class LogAnalyses:
    """Runs analyses of a store that is open on the loop of a kernel."""

    def __init__(self, store: Store, places: ThreadPlaces | None = None) -> None:
        self._store = store
        self._places = places or ThreadPlaces("gnomon log analysis", AT_ONCE, LIMIT_S)

    def of(self, store: Store) -> LogAnalyses:
        """Return the same for another view of the log; no more analyses run at once for it."""
        return LogAnalyses(store, self._places)

    async def run(self, analyse: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """Return what `analyse(store)` returns; StoreUnavailableError where that takes too long."""
        reader = cast(Store, _ReadOn(asyncio.get_running_loop(), self._store))
        try:
            return await self._places.run(lambda: asyncio.run(analyse(reader)))
        except TimeoutError:
            raise StoreUnavailableError(
                f"the log has given no answer within {LIMIT_S:g} s: ask about a shorter time, or try again later"
            ) from None


class _ReadOn:
    """The reading methods of a store that is open on another loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, store: Store) -> None:
        self._loop = loop
        self._store = store

    @property
    def loss(self) -> Loss | None:
        """What the log has lost; see `Store.loss`."""
        return self._store.loss

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if name not in READS:
            raise AttributeError(f"an analysis only reads, and has no {name!r}")
        method = getattr(self._store, name)
        return lambda *args, **kwargs: call_on(self._loop, method(*args, **kwargs))
