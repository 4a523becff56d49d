"""Every interface that the kernel needs from the outside: Store, Clock, Runner.

A port's obligations stand in its docstrings; `gnomon.testing.contracts` checks them.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from gnomon.domain.records import (
    ActionPage,
    ActionQuery,
    Checkpoint,
    ExecutionQuery,
    JobStatistics,
    LogLine,
    Page,
    StoreHealth,
)

if TYPE_CHECKING:
    from gnomon.domain.events import Event
    from gnomon.domain.execution import Execution
    from gnomon.domain.job_state import JobState


_HEALTHY = StoreHealth()


class Store(ABC):
    """Keeps the log and its projections. The journal is its only writer.

    All methods are called on the kernel's event loop and must not block it. Driver errors are translated:
    StoreUnavailableError where trying again may help, StoreError where it cannot. After `close` every call raises
    StoreError. Opening, closing twice included, is the context manager's business: `async with store:`.
    """

    name: ClassVar[str] = "store"

    @abstractmethod
    async def open(self, *, read_only: bool = False) -> None:
        """Take hold of the log; called once, before everything else.

        A writing store takes the one writer's place or raises StoreInUseError that names who holds it. With
        `read_only` nothing is created, locked or changed, and it works beside a running kernel; NoLogError where
        nothing was ever written.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything; what was appended before is durable. Closing a closed store does nothing."""

    def health(self) -> StoreHealth:
        """Tell how the store is doing, from memory and at once: it is asked before every start of a run."""
        return _HEALTHY

    @abstractmethod
    async def head(self) -> int:
        """Return the highest position ever given, 0 for an empty log; pruning never lowers it."""

    @abstractmethod
    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        """Write events, and the views folded from them, in one transaction; durable when it returns.

        Positions are set and contiguous from head + 1. Where (stream, version) or a position is taken already it raises
        ConflictError, and nothing at or after the event in conflict is written. `executions` and `jobs` are whole
        views to be put in place of what is there; they are the store's to keep, nobody changes them any more. A reader
        never sees a position before all lower ones.
        """

    @abstractmethod
    async def read(self, after: int = 0, limit: int = 1000) -> list[Event]:
        """Return up to `limit` events with positions greater than `after`, in order."""

    @abstractmethod
    async def stream(self, stream: str) -> list[Event]:
        """Return the events of one stream in order of version; an unknown stream is empty."""

    @abstractmethod
    async def execution(self, execution_id: str) -> Execution | None:
        """Return one execution, or None."""

    @abstractmethod
    async def executions(self, query: ExecutionQuery) -> Page:
        """Return a page of executions; a cursor that is none of ours raises ValueError."""

    @abstractmethod
    async def jobs(self) -> list[JobState]:
        """Return the state of every job that the log knows, removed ones too, by id."""

    @abstractmethod
    async def job_events(self, job_id: str, since: datetime, until: datetime) -> list[Event]:
        """Return what the log says of a job between two moments of recording: its own stream and its executions'.

        In order of position; progress events are left out.
        """

    async def statistics(self, job_id: str | None = None) -> list[JobStatistics] | None:
        """Count the executions of one job, or of each, by id; None from a store that has no quick way to do it.

        Asked to check what is counted from the events; times may be cut to milliseconds.
        """
        return None

    @abstractmethod
    async def actions(self, query: ActionQuery) -> ActionPage:
        """Return a page of operators' acts, as `gnomon.domain.operator_actions.action_of` reads them from events."""

    @abstractmethod
    async def checkpoint(self, name: str) -> Checkpoint | None:
        """Return the checkpoint of that name, or None."""

    @abstractmethod
    async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint; durable when it returns. One with a lower position than the kept one is ignored."""

    @abstractmethod
    async def append_log(self, execution_id: str, lines: Sequence[LogLine], oldest: int = 1) -> None:
        """Keep lines that a run logged; a number that is there already is put in place of the old line.

        Lines of that run with numbers below `oldest` are forgotten: a run keeps only its newest lines.
        """

    @abstractmethod
    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        """Return up to `limit` log lines with numbers greater than `after`, in order."""

    @abstractmethod
    async def prune(self, before: datetime) -> int:
        """Forget executions that ended before that moment, with their events, log lines and actions; return how many.

        Job streams and executions that are not over stay. Positions are never given again.
        """

    async def __aenter__(self) -> Self:
        """Open for writing."""
        await self.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()


class Clock(ABC):
    """Tells the time: wall time for meaning, monotonic time for waiting and measuring."""

    @abstractmethod
    def time(self) -> float:
        """Return the wall time in seconds since 1970, UTC. It may jump."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the same as an aware datetime in UTC."""

    @abstractmethod
    def monotonic(self) -> float:
        """Return seconds that never go back; only differences mean something."""

    @abstractmethod
    async def wait(self, wake: asyncio.Event, until: float | None) -> None:
        """Wait until `wake` is set or the wall time has reached `until` (None: no limit).

        A jump of the wall clock is noticed within a second, so that no fire is slept past. It may return early, and it
        may set `wake` itself.
        """

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait for that long on the monotonic clock."""
