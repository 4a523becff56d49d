"""Receives the orders of a log through the server, in the process that leads.

One task looks for orders, one writes the answers, and each order has its own. The first looks often while orders come.
Otherwise it waits until the server reports one (change_feed.py), or looks every IDLE_S where the server reports none.
Nothing is claimed while the lease is not trusted, because another kernel may lead then.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import msgspec

from gnomon.backoff import Backoff
from gnomon.domain.orders import Answer, Order
from gnomon.errors import GnomonError, StoreError
from gnomon.logs import get_logger
from gnomon.orders.order_errors import written_error
from gnomon.tasks import end, protected, stop_tasks
from gnomon_shared_log.change_feed import ChangeFeed
from gnomon_shared_log.lease.lease import Lease
from gnomon_shared_log.ports.batch import B
from gnomon_shared_log.ports.changes import Placed
from gnomon_shared_log.ports.order_table import ClaimedOrder
from gnomon_shared_log.ports.server_log import ServerLog

log = get_logger("gnomon.shared_log")

T = TypeVar("T")

Handler = Callable[[Order], Awaitable[Answer]]

BUSY_S, IDLE_S = 0.03, 0.2
"""The pauses between two looks: right after an order, and when none has come for a while."""
SLOWER = 1.1
"""How the pause grows with each look that finds nothing."""
FED_S = 0.05
"""The pause from which on the task waits for a report, where the server makes them."""
LONGEST_S = 10.0
"""The longest time without a look, for a report that is not made."""
MOST_IN_WORK = 1000
"""Orders in work at once; further ones wait on the server."""
MOST_AT_ONCE = 100
"""Orders that are claimed in one step, and answers that are written in one."""
CHECK_S = 0.5
"""Time between two looks at the senders of the orders in work."""
GONE_S = 30.0
"""A sender that waits for its turn, and has not shown itself for so long, is gone."""
LEAVE_LIMIT_S = 2.0
"""For recording at the end which orders get no answer."""


class OrderReceiver:
    """Passes orders to the handler, each of them once, and writes the answers."""

    def __init__(self, server: ServerLog[B], lease: Lease, handler: Handler) -> None:
        self.feed = ChangeFeed(server.source, "orders")
        self._placed = self.feed.turns_of(lambda change: change == Placed())
        self._table = server.orders
        self._product = server.product
        self._lease = lease
        self._handler = handler
        self._owner = lease.term().owner
        self._in_work: dict[str, asyncio.Task[None]] = {}
        self._shown: dict[str, tuple[object, float]] = {}
        self._checked_at = 0.0
        self._has_abandoned = False
        self._answers: dict[str, bytes] = {}
        self._has_answers = asyncio.Event()

    async def run(self) -> None:
        """Receive orders until cancelled."""
        pause_s = BUSY_S
        while True:
            seen, may_wait = self._placed.count, False
            found = 0
            try:
                found = await self._receive()
                await self._check_senders()
                may_wait = True
            except StoreError as exc:
                log.debug("orders cannot be received now", problem=str(exc))
            pause_s = BUSY_S if found else min(pause_s * SLOWER, IDLE_S)
            if may_wait and pause_s > FED_S:
                await self._wait(seen, pause_s)
            else:
                await asyncio.sleep(pause_s)

    async def _wait(self, seen: int, pause_s: float) -> None:
        """Wait for a report since those that were seen before the last look, or pause where none are made."""
        with self.feed.used():
            if not self.feed.stream:
                await asyncio.sleep(pause_s)
                return
            has_to_look = self._in_work or not self._lease.is_trusted
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S if has_to_look else LONGEST_S):
                    await self._placed.after(seen)

    async def write_answers(self) -> None:
        """Write the answers that are there, one group at a time, until cancelled."""
        while True:
            await self._has_answers.wait()
            await self._again(self._write_some)

    async def close(self) -> None:
        """Cancel what is in work, and record that it gets no answer."""
        await stop_tasks(list(self._in_work.values()))
        with suppress(StoreError, TimeoutError):  # then the next leader does
            async with asyncio.timeout(LEAVE_LIMIT_S):
                while self._answers:
                    await self._write_some()
                await self._table.abandon(self._owner, of_others=False)

    async def _receive(self) -> int:
        if not self._lease.is_trusted:
            return 0
        if not self._has_abandoned:
            await self._table.abandon(self._owner, of_others=True)
            self._has_abandoned = True
        most = min(MOST_IN_WORK - len(self._in_work), MOST_AT_ONCE)
        ids = await self._table.waiting(most) if most > 0 else []
        if not ids:
            return 0
        mark = secrets.token_hex(8)
        claimed = await self._again(lambda: self._table.claim(ids, self._owner, mark))
        late = [one.order.id for one in claimed if one.is_late]
        for one in claimed:
            if not one.is_late:
                self._start(one)
        if late:
            await self._again(lambda: self._table.expire(late))
        return len(claimed)

    def _start(self, claimed: ClaimedOrder) -> None:
        order = claimed.order
        work = self._in_work[order.id] = protected(self._carry_out(order), "order")
        work.add_done_callback(partial(self._note_end, order.id))

    def _note_end(self, order_id: str, work: asyncio.Task[None]) -> None:
        self._in_work.pop(order_id, None)
        self._shown.pop(order_id, None)
        if not work.cancelled() and (problem := work.exception()) is not None:
            log.error("an order could not be answered", order=order_id, exc_info=problem)

    async def _carry_out(self, order: Order) -> None:
        answer = msgspec.json.encode(await self._handler(order))
        if len(answer) > self._table.most_bytes:
            answer = msgspec.json.encode(self._too_large(order, len(answer)))
        self._answers[order.id] = answer
        self._has_answers.set()

    def _too_large(self, order: Order, size: int) -> Answer:
        done = f"the order {order.call!r} was carried out; its answer has {size:,} bytes, too many for {self._product}"
        return Answer(error=written_error(GnomonError(done)))

    async def _write_some(self) -> None:
        self._has_answers.clear()
        some: dict[str, bytes] = {}
        for order_id, answer in self._answers.items():
            if some and (
                len(some) == MOST_AT_ONCE or sum(map(len, some.values())) + len(answer) > self._table.most_bytes
            ):
                self._has_answers.set()
                break
            some[order_id] = answer
        try:
            if some:
                await self._table.write_answers(some, self._owner)
        except BaseException:
            self._has_answers.set()
            raise
        for order_id in some:
            del self._answers[order_id]

    async def _again(self, step: Callable[[], Awaitable[T]]) -> T:
        """Repeat a step until the server confirms it: orders wait for it."""
        backoff = Backoff(BUSY_S, 1.0)
        while True:
            try:
                return await step()
            except StoreError as exc:
                log.debug("orders have to wait", problem=str(exc))
                await asyncio.sleep(backoff.next())

    async def _check_senders(self) -> None:
        """Cancel orders that were withdrawn, and those in a queue whose sender is gone."""
        now = asyncio.get_running_loop().time()
        if not self._in_work or now < self._checked_at + CHECK_S:
            return
        self._checked_at = now
        found = await self._table.look(self._in_work)
        gone = [order_id for order_id, state in found.items() if state.is_withdrawn]
        for order_id, state in found.items():
            shown, since = self._shown.get(order_id, (None, now))
            self._shown[order_id] = (state.kept, now if state.kept != shown else since)
            if state.waits and now > self._shown[order_id][1] + GONE_S:
                gone.append(order_id)
        for order_id in gone:
            if (work := self._in_work.get(order_id)) is not None:
                end(work)
