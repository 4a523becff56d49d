"""Orders through the server (order_table.py): a sender needs nothing but the database.

Times are counted by each sender on its own elapsed time, and by the leader on the server's clock: clocks of machines
are not compared. Nothing bound to a connection decides; both sides look again and again, a sender less often the longer
it waits. All orders of one channel are looked at together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Generic

import msgspec

from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.orders import Answer, Order
from gnomon.errors import GnomonError, NoLeaderError, OrderLostError, StoreError
from gnomon.ports import OrderChannel
from gnomon_shared_log.change_feed import ChangeFeed
from gnomon_shared_log.lease.lease import Lease
from gnomon_shared_log.lease.lease_watch import LeaseWatch
from gnomon_shared_log.orders.order_receiver import Handler, OrderReceiver
from gnomon_shared_log.ports.batch import B
from gnomon_shared_log.ports.order_table import OrderState
from gnomon_shared_log.ports.server_log import ServerLog
from gnomon_shared_log.store_tasks import start_task

FIRST_LOOK_S, LONGEST_LOOK_S = 0.02, 0.25
"""The pauses between two looks at an order, from the first one to those after some seconds."""
SLOWER = 1.2
LEADER_LOOK_S = 1.0
"""Time between two looks at the leader that has claimed an order and not answered it."""
KEEP_S = 5.0
"""Time between two signs that the sender is there."""
UNREACHABLE_S = 30.0
"""For a server that is away when a leader may have the order."""
WITHDRAW_LIMIT_S = 2.0
ANNOUNCED_S = 15.0
"""Seconds for which a process counts that has announced itself: it does so again at least every 6 s."""


class ServerOrderChannel(OrderChannel, Generic[B]):
    """The channel of one store, which may be closed when an order is sent; `check` raises where it must not be used."""

    def __init__(self, server: ServerLog[B], lease: Lease, check: Callable[[], None]) -> None:
        self._server = server
        self._lease = lease
        self._check = check
        self._waiting: dict[str, OrderState | None] = {}
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")

    async def submit(self, order: Order, limit_s: float) -> Answer:
        self._check()
        async with self._server.borrowed() as server:
            return await Submission(self, server, order, limit_s).run()

    @asynccontextmanager
    async def serve(self, handler: Handler) -> AsyncIterator[None]:
        receiver = OrderReceiver(self._server, self._lease, handler)
        further = self._further_work(receiver.feed, handler)
        async with AsyncExitStack() as held:
            held.push_async_callback(receiver.close)
            for work in (receiver.feed.run(), receiver.run(), receiver.write_answers(), *further):
                start_task(work, held)
            yield

    def _further_work(self, feed: ChangeFeed, handler: Handler) -> Iterable[Coroutine[Any, Any, None]]:  # noqa: ARG002
        """Return what else carries out orders while the kernel leads; `feed` reports those that are placed."""
        return ()

    async def announce(self, member: KernelMember) -> None:
        async with self._server.borrowed() as server:
            await server.orders.announce(member)

    async def retract(self, member_id: str) -> None:
        async with self._server.borrowed() as server:
            await server.orders.retract(member_id)

    async def announced(self) -> list[KernelMember]:
        self._check()
        async with self._server.borrowed() as server:
            found = await server.orders.announced(ANNOUNCED_S)
        return sorted(found, key=lambda member: (member.node, member.pid, member.id))

    async def look(self, server: ServerLog[B], order_id: str) -> OrderState | None:
        """Return the state of an order that was placed, as of the last FIRST_LOOK_S."""
        self._waiting.setdefault(order_id, None)
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if self._waiting[order_id] is None or now > self._looked_at + FIRST_LOOK_S:
                found = await server.orders.look(self._waiting)
                self._looked_at = asyncio.get_running_loop().time()
                self._waiting = {one: found.get(one) for one in self._waiting}
            return self._waiting[order_id]

    def forget(self, order_id: str) -> None:
        """Remove an order from those that are looked at."""
        self._waiting.pop(order_id, None)


class Submission(Generic[B]):
    """One order on its way, from its sender's side."""

    def __init__(self, channel: ServerOrderChannel[B], server: ServerLog[B], order: Order, limit_s: float) -> None:
        self._channel = channel
        self._server = server
        self._table = server.orders
        self._order = order
        self._limit_s = limit_s
        self._now = asyncio.get_running_loop().time
        self._deadline = self._now() + limit_s
        self._reached_at = self._kept_at = self._looked_at_leader = self._now()
        self._is_claimed = False
        self._leader = LeaseWatch(0.0)

    async def run(self) -> Answer:
        """Place the order and return its answer."""
        try:
            await self._place()
            pause_s = FIRST_LOOK_S
            while True:
                try:
                    if (answer := await self._look()) is not None:
                        return answer
                    self._reached_at = self._now()
                except StoreError as exc:
                    self._expect_reachable(exc)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * SLOWER, LONGEST_LOOK_S)
        except asyncio.CancelledError:
            with suppress(StoreError, TimeoutError):  # then its limit ends it, or its silence
                async with asyncio.timeout(WITHDRAW_LIMIT_S):
                    await self._table.withdraw(self._order.id, only_waiting=False)
            raise
        finally:
            self._channel.forget(self._order.id)

    async def _place(self) -> None:
        """Place the order; GnomonError for one that is too large."""
        size, most = memoryview(self._order.arguments).nbytes, self._table.most_bytes
        if size > most:
            raise GnomonError(
                f"the order {self._order.call!r} has {size:,} bytes of arguments, more than the {most:,} that pass "
                f"through {self._server.product}: split it"
            )
        may_be_there = False
        while True:
            try:
                await self._table.place(self._order, self._limit_s)
            except StoreError as exc:
                may_be_there = may_be_there or not self._table.was_not_sent(exc)
                if self._now() < self._deadline:
                    await asyncio.sleep(LONGEST_LOOK_S)
                elif may_be_there:
                    raise OrderLostError(f"the order {self._order.call!r} was sent, and {exc}") from exc
                else:
                    raise NoLeaderError(str(exc)) from exc
            else:
                return

    async def _look(self) -> Answer | None:
        state = await self._channel.look(self._server, self._order.id)
        if state is None:
            raise self._lost("is gone from the database")
        if state.answer is not None:
            return msgspec.json.decode(state.answer, type=Answer)
        if state.is_abandoned:
            raise self._lost("was received by a kernel that ended before it had answered")
        if state.is_expired:
            raise self._nobody()
        if state.owner is not None:
            self._is_claimed = True
            await self._wait_for_leader(state.owner)
        elif state.is_withdrawn or (self._now() >= self._deadline and await self._withdrawn()):
            raise self._nobody()
        return None

    async def _withdrawn(self) -> bool:
        return await self._table.withdraw(self._order.id, only_waiting=True)

    async def _wait_for_leader(self, owner: str) -> None:
        """Show that the sender is there, and raise OrderLostError if the leader that has the order is not."""
        if self._now() > self._kept_at + KEEP_S:
            self._kept_at = self._now()
            await self._table.keep(self._order.id)
        if self._now() < self._looked_at_leader + LEADER_LOOK_S:
            return
        self._looked_at_leader = self._now()
        row = await self._leader.look(self._server.lease)
        if row is not None and row.owner == owner and not self._leader.is_free():
            return
        newest = (await self._table.look([self._order.id])).get(self._order.id)
        if newest is None or newest.answer is None:  # it may have been written just before
            raise self._lost("was received by a kernel that leads no longer, and has not answered")

    def _expect_reachable(self, exc: StoreError) -> None:
        """Raise OrderLostError if the server has been away for too long."""
        if self._now() > max(self._deadline, self._reached_at + (UNREACHABLE_S if self._is_claimed else 0.0)):
            raise self._lost(f"was sent, and {exc}") from exc

    def _nobody(self) -> NoLeaderError:
        return NoLeaderError(f"none received the order through {self._server.name} within {self._limit_s:g} s")

    def _lost(self, what: str) -> OrderLostError:
        return OrderLostError(f"the order {self._order.call!r} {what}")
