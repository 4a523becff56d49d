"""Every interface that the kernel needs from the outside: Store, Clock, Runner.

A port's obligations stand in its docstrings; `gnomon.testing.contracts` checks them.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import msgspec

if TYPE_CHECKING:
    from gnomon.bodies import Body
    from gnomon.context import Context
    from gnomon.events import Event
    from gnomon.execution import Execution, Status
    from gnomon.job_state import JobState
    from gnomon.jobs import Limits


class ExecutionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which executions a list shows; all filters combine. `text` is looked for in error messages, ignoring case.

    `since` and `until` bound `timestamp` (since <= timestamp < until). Hidden executions are left out, and not counted,
    unless `hidden` is true: then they are among the others. `limit` is the size of a page, `cursor` the
    `next` of the page before; `offset` skips rows and is for short lists.
    """

    job_id: str | None = None
    status: tuple[Status, ...] = ()
    is_manual: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    hidden: bool = False
    limit: int = 50
    offset: int = 0
    cursor: str | None = None


class Page(msgspec.Struct, frozen=True):
    """A page of executions, newest `timestamp` first (then by id, descending).

    `total` counts all that match the filters, exactly. `next` is the cursor of the next page, None at the end.
    """

    items: list[Execution]
    total: int
    next: str | None


class Action(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody did, as an event of the log tells it: `trigger`, `pause`, `resume`, `cancel`, `describe`, ...

    An act that could not even begin (no such job, no right to it) is in no log, so it is not here either. A failed one
    is a run by hand that was recorded and refused; `error_message` says why. `detail` is the reason that was given.
    """

    at: datetime
    job_id: str
    action: str
    status: Literal["success", "failed"] = "success"
    actor: str
    error_message: str | None = None
    execution_id: str | None = None
    detail: str | None = None


class ActionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which actions a list shows: those on one job and its executions, or all."""

    job_id: str | None = None
    limit: int = 50
    offset: int = 0


class ActionPage(msgspec.Struct, frozen=True):
    """A page of actions, newest first, as they stand in the log; `total` counts all that match, exactly."""

    items: list[Action]
    total: int


class Checkpoint(msgspec.Struct, frozen=True):
    """Where a plugin is in the log, and the view that it has folded so far: both written in one transaction."""

    position: int
    view: bytes | None = None


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line that a run logged; `number` counts from 1 in the run, `level` is a name such as `info`."""

    number: int
    at: datetime
    level: str
    text: str
    logger: str = ""


class JobStatistics(msgspec.Struct, frozen=True):
    """The executions of one job that a store has: how many by status, the mean seconds of successes, and the last one.

    That is the one of the newest `timestamp`. A range of fires that was missed together is one execution. Those that
    are hidden from lists count: they happened.
    """

    job_id: str
    by_status: dict[str, int]
    average_execution_time: float | None
    last_id: str
    last_status: str
    last_timestamp: datetime

    @property
    def total(self) -> int:
        """How many executions there are."""
        return sum(self.by_status.values())


class StoreHealth(msgspec.Struct, frozen=True):
    """How a store is doing.

    A degraded one takes events and keeps them safe, but not yet where they belong: `backlog` counts those, `problem`
    says why. With `accepts_runs` false it has room left only for the ends of what is running: no body is to be started.
    """

    state: Literal["healthy", "degraded"] = "healthy"
    problem: str | None = None
    backlog: int = 0
    accepts_runs: bool = True


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
        """Return a page of what operators did: what `gnomon.actions.action_of` makes of the events of the log."""

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


class Outcome(msgspec.Struct, frozen=True):
    """How a body ended: with a value, with an exception, or because it was told to stop.

    `traceback` is text, as it is to be kept. `execution_time` is seconds on the monotonic clock.
    """

    execution_time: float
    value: Any = None
    error: BaseException | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    cancelled: bool = False
    killed: bool = False


class Run(msgspec.Struct, frozen=True):
    """What a runner is given: a body, its execution with the arguments, and the context that connects it to the kernel.

    `cancel_grace` is in seconds; `limits` are for those that can enforce them.
    """

    execution: Execution
    body: Body
    context: Context
    cancel_grace: float = 10.0
    limits: Limits | None = None

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Return what the body is called with."""
        execution = self.execution
        return self.body.arguments(execution.args, execution.kwargs, self.context, force=execution.force)


class Runner(ABC):
    """Runs bodies in one way: as a task, in a thread, in a process. One runner serves all runs of its kind."""

    name: ClassVar[str]

    @abstractmethod
    async def run(self, run: Run) -> Outcome:
        """Run the body to its end and say how it ended; it never raises for what the body does.

        Called in a task of its own on the kernel's loop, when `started` is durable. It must not block the loop.
        """

    @abstractmethod
    def cancel(self, execution_id: str) -> None:
        """Ask a running body to stop, in the strongest way that leaves it a chance to clean up; does not wait.

        The run's context is told before, so that its next call raises RunCancelled.
        """
