"""The interfaces that the kernel needs from outside: Store, OrderChannel, Clock. That of runners is in runners/base.py.

`LoadedPlugin` is what plugins see of each other.
The docstrings state a port's obligations; `gnomon.testing.contracts` checks them.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from gnomon.domain.records import (
    ActionPage,
    ActionQuery,
    Checkpoint,
    ExecutionCounts,
    ExecutionQuery,
    LogHolder,
    LogLine,
    Page,
    StoreHealth,
)
from gnomon.errors import StoreError
from gnomon.ticks import next_tick

if TYPE_CHECKING:
    from pathlib import Path

    from gnomon.domain.events import Event
    from gnomon.domain.execution import Execution
    from gnomon.domain.job_state import JobState
    from gnomon.domain.kernel_member import KernelMember
    from gnomon.domain.orders import Answer, Order
    from gnomon.domain.rollback import Loss, Rollback


_HEALTHY = StoreHealth()


class Store(ABC):
    """Keeps the log and its projections. The journal is its only writer.

    All methods are called on the kernel's event loop and must not block it. Driver errors are translated:
    StoreUnavailableError where trying again may help, StoreError where it cannot. After `close` every call raises
    StoreError. Opening, closing twice included, is the context manager's business: `async with store:`. One object is
    opened many times, for writing or read-only, as its process leads or follows; nothing of an earlier time is left.
    """

    name: ClassVar[str] = "store"
    accept_rollback = False
    """Whether `open` accepts a log that has lost acknowledged events, instead of raising RolledBackError."""
    rollback: Rollback | None = None
    """What the log had lost when it was opened, if that was accepted."""
    loss: Loss | None = None
    """What the log had lost when it was opened, or refused with NoLogError, read-only: a kernel would refuse it."""
    holder_problem: str | None = None
    """What `wait_until_free` finds wrong with the kernel that holds the log, such as that its process is stopped."""
    directory: Path | None = None
    """The folder of the store's files on this machine, where plugins may keep theirs; None without files."""

    @abstractmethod
    async def open(self, *, read_only: bool = False) -> None:
        """Open the log; called before all other methods, and again after `close`.

        A store that opens for writing acquires the lock of the only writer, or raises StoreInUseError that names the
        holder. With `read_only` it creates, locks and changes nothing, and works beside a running kernel; NoLogError
        where nothing was ever written.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release everything; what was appended before is durable. Closing a closed store does nothing."""

    async def wait_until_free(self) -> None:
        """Return when a kernel could try to open the log for writing, which another one had open.

        Called while the store is closed or open read-only, by a process that then closes it and opens it for writing,
        and again if that is refused. What the store answers meanwhile is not affected. A store that can tell waits
        until the other kernel is gone, returns within 0.3 s then, and logs one that is silent. A log that cannot be
        read is not free, whatever the reason: nothing is raised. By default `holder` tells.
        """
        while True:
            with suppress(StoreError):
                holder = await self.holder()
                if holder is None or not holder.is_active:
                    return
            await asyncio.sleep(0.3)

    def expect_release(self) -> None:  # noqa: B027 - most stores have nothing to do
        """Prepare `wait_until_free` for a release soon: the kernel that has the log open has recorded its stop.

        A store that looks often anyway does nothing.
        """

    async def wait_for_events(self, after: int) -> None:
        """Return when there may be events after this position, which another process appends; it may return early.

        Called on a store that is open read-only by a kernel that follows, which then reads on, and again if there is
        nothing. A store that can tell at little cost waits until there are some, and returns within 0.2 s then. By
        default each call is a short pause.
        """
        await next_tick(0.1)

    def orders(self) -> OrderChannel | None:
        """Return how other processes pass orders to the kernel that leads; None where no other can open the log.

        Called on a store that may not be open: the channel of a sender connects by itself.
        """
        return None

    def place_problem(self) -> str | None:
        """Return why a kernel could not open the store on this machine, as far as a look shows it without opening it.

        `gnomon check` asks; nothing is created, and no server is connected to.
        """
        return None

    def health(self) -> StoreHealth:
        """Return the store's health from memory, without blocking: called before every start of a run."""
        return _HEALTHY

    @abstractmethod
    async def head(self) -> int:
        """Return the highest position ever assigned, 0 for an empty log; pruning never lowers it."""

    @abstractmethod
    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        """Write events, and the views folded from them, in one transaction; durable when it returns.

        Positions are set and contiguous from head + 1. Where (stream, version) or a position is taken, it raises
        ConflictError and writes nothing at or after the event in conflict. `executions` and `jobs` are whole views that
        replace the stored ones; the caller does not change them afterwards, so the store may keep them. A reader never
        sees a position before all lower ones. `gnomon.domain.codec.encode_each` and `encode_rows` return JSON that is
        shared with viewers.
        """

    async def restore(
        self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState], head: int
    ) -> None:
        """Write a part of a log that was exported from another store: events, and their views, with its positions.

        Called in place of `append` by `gnomon log import`, never while a kernel leads. Positions increase from above
        the head on, and have gaps where events were pruned; so may versions. Afterwards the head is `head`, which is
        not below the last event: positions that were left out are never assigned. `jobs` replace the stored states
        also without events. It may take several transactions, if it can be repeated after a crash with the events
        above the head. By default events without a gap are appended, and others are a StoreError.
        """
        places = range(await self.head() + 1, head + 1)
        if [event.position for event in events] != list(places):
            raise StoreError(
                f"the store {self.name} cannot take a log from which events were pruned: events {places.start} to "
                f"{head} are not all there, and it has no method `restore`; use another store"
            )
        await self.append(events, executions, jobs)

    async def keep_ends(self, events: Sequence[Event]) -> None:
        """Keep the ends of runs among events that wait behind an append that was refused, or that lost the log.

        Called again and again during an outage, with more events each time. For a store that can keep them safe
        elsewhere, so that they survive the process and reach the kernel that leads then (`late_ends`).
        """
        return

    async def late_ends(self) -> list[Event]:
        """Return ends of runs that kernels could not append, for the leading kernel to record."""
        return []

    async def forget_late_ends(self, ends: Sequence[Event]) -> None:
        """Delete late ends, which have been recorded."""
        return

    async def waiting_orders(self) -> int:
        """Return how many orders were accepted and wait for a kernel to lead: a log is not moved while there are any.

        Those whose senders wait do not count, because these learn that no kernel leads. 0 by default.
        """
        return 0

    async def holder(self) -> LogHolder | None:
        """Return the kernel that leads, None where nobody does; watched until it is known whether it is alive.

        Called on a store that is closed or open read-only, as is `take_over`.
        """
        raise self._no_takeover()

    async def take_over(self, holder: LogHolder) -> None:
        """End the term of a kernel that is silent: it appends nothing more, and another kernel may lead.

        Raise StoreInUseError if it has become active meanwhile.
        """
        raise self._no_takeover()

    def _no_takeover(self) -> StoreError:
        return StoreError(
            f"the store {self.name} has no leases that could be taken over: its log is free as soon as the process of "
            "its kernel has ended; stop that process"
        )

    @abstractmethod
    async def read(self, after: int = 0, limit: int = 1000) -> list[Event]:
        """Return up to `limit` events with positions greater than `after`, in order."""

    @abstractmethod
    async def stream(self, stream: str) -> list[Event]:
        """Return the events of one stream in order of version; an unknown stream is empty."""

    @abstractmethod
    async def execution(self, execution_id: str) -> Execution | None:
        """Return one execution, or None."""

    async def executions_by_id(self, ids: Collection[str]) -> dict[str, Execution]:
        """Return those of these executions that are there, by id. By default `execution` is asked for each."""
        found = {execution_id: await self.execution(execution_id) for execution_id in ids}
        return {execution_id: execution for execution_id, execution in found.items() if execution is not None}

    @abstractmethod
    async def executions(self, query: ExecutionQuery) -> Page:
        """Return a page of executions; ValueError for a cursor that is not valid."""

    @abstractmethod
    async def jobs(self, job_ids: Collection[str] | None = None, *, removed: bool = True) -> list[JobState]:
        """Return the state of every job in the log, or of these, sorted by id; without `removed` only of present ones.

        Jobs that the log does not know are left out. The number of removed jobs has no limit.
        """

    @abstractmethod
    async def job_events(self, job_id: str, since: datetime, until: datetime) -> list[Event]:
        """Return the events of a job and its executions with since <= `at` < until, in order of position.

        Progress events are left out. An empty id stands for the events of kernels.
        """

    async def statistics(self, job_id: str | None = None) -> list[ExecutionCounts] | None:
        """Count the executions of one job, or of each job; None from a store that has no fast way to do it.

        Used to check statistics that are folded from events. Times may be truncated to milliseconds.
        """
        return None

    @abstractmethod
    async def actions(self, query: ActionQuery) -> ActionPage:
        """Return a page of operators' actions, which `gnomon.domain.operator_actions.action_of` derives from events."""

    @abstractmethod
    async def checkpoint(self, name: str) -> Checkpoint | None:
        """Return the checkpoint with that name, or None."""

    @abstractmethod
    async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
        """Save a checkpoint; durable when it returns. One with a lower position than the saved one is ignored."""

    async def checkpoint_names(self) -> list[str] | None:
        """Return the names of all checkpoints, sorted; None from a store that cannot list them: none are exported."""
        return None

    @abstractmethod
    async def append_log(self, execution_id: str, lines: Sequence[LogLine], oldest: int = 1) -> None:
        """Save lines that a run logged; a line replaces one with the same number.

        Lines of that run with numbers below `oldest` are deleted: a run keeps only its newest lines.
        """

    @abstractmethod
    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        """Return up to `limit` log lines with numbers greater than `after`, in order."""

    @abstractmethod
    async def prune(self, before: datetime) -> int:
        """Delete executions that ended before that time, with their events, log lines and actions; return their number.

        Executions that have not ended stay, and so do jobs; of removed ones those that `gnomon.stores.removed_jobs`
        keeps. Positions are never assigned again. Streams of kernels whose newest fact is older are deleted, except
        those that `gnomon.stores.kernel_streams` keeps.
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


class OrderChannel(ABC):
    """Carries orders from any process to the kernel that leads a log, and its answers back."""

    @property
    def problem(self) -> str | None:
        """Why orders do not reach the kernel that serves this channel; may be read in any thread."""
        return None

    @abstractmethod
    async def submit(self, order: Order, limit_s: float) -> Answer:
        """Return the answer to an order, which waits up to `limit_s` for a kernel that leads.

        NoLeaderError where none has received it: nothing was done. OrderLostError where one may have received it and
        did not answer. A call that is cancelled withdraws an order that was not carried out yet.
        """

    @abstractmethod
    def serve(self, handler: Callable[[Order], Awaitable[Answer]]) -> AbstractAsyncContextManager[None]:
        """Receive orders while the block runs, as the kernel that leads; many may be in work at once.

        Each order is passed to the handler once by each kernel that receives it. An order whose sender is gone is
        cancelled.
        """

    async def announce(self, member: KernelMember) -> None:
        """Show all processes that this one follows; called every second or so while no kernel that leads answers."""
        return

    async def retract(self, member_id: str) -> None:
        """Remove what `announce` has shown; it also ends by itself some seconds after the last call."""
        return

    async def announced(self) -> list[KernelMember]:
        """Return the processes that follow while no kernel that leads answers them, by node and process."""
        return []


class Clock(ABC):
    """The time: wall time for schedules and records, monotonic time for waiting and measuring."""

    @abstractmethod
    def time(self) -> float:
        """Return the wall time in seconds since 1970, UTC. It may jump."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the same as an aware datetime in UTC."""

    @abstractmethod
    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back; only differences have a meaning."""

    @abstractmethod
    async def wait(self, wake: asyncio.Event, until: float | None) -> None:
        """Wait until `wake` is set or the wall time has reached `until` (None: no limit).

        A jump of the wall clock is noticed within a second, so that no fire is missed by a long sleep. It may return
        early, and may set `wake` itself.
        """

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait for that long on the monotonic clock."""


class LoadedPlugin(Protocol):
    """A plugin of the kernel, as other plugins see it."""

    name: str

    @property
    def is_of_leader(self) -> bool:
        """Whether it runs with the kernel that leads alone: elsewhere its lifespan has not been entered."""

    def contribute(self, hook: str, register: Callable[..., None]) -> None:
        """Call the plugin's implementations of a contribution hook with `register`; PluginError for what they raise."""
