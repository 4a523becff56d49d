"""Carries out the orders that reach the kernel that leads, each of them once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from gnomon.api import KernelApi
from gnomon.domain.orders import Answer, Order
from gnomon.orders.calls import ExtraCalls, carry_out
from gnomon.ports import OrderChannel
from gnomon.tasks import end, protected

MOST_KEPT = 10_000
"""Answers that are kept, for a sender that repeats its order."""
MOST_KEPT_BYTES = 32 * 1024 * 1024


class AnsweredOrders:
    """The orders that are in work or were answered lately, so that a repeated one is not carried out again."""

    def __init__(self, kernel: KernelApi, extra: ExtraCalls) -> None:
        self._kernel = kernel
        self._extra = extra
        self._in_work: dict[str, asyncio.Task[Answer]] = {}
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._kept_bytes = 0

    async def answer(self, order: Order) -> Answer:
        """Return the answer to an order.

        One that waits is withdrawn where this call is cancelled; any other goes on, and its answer is kept.
        """
        if (known := self._answers.get(order.id)) is not None:
            return known
        if (work := self._in_work.get(order.id)) is None:
            work = self._in_work[order.id] = protected(carry_out(self._kernel, order, self._extra), "order")
            work.add_done_callback(lambda done: self._note(order.id, done))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if order.waits:
                end(work)
            raise

    async def close(self) -> None:
        """End the orders that are still in work."""
        in_work = list(self._in_work.values())
        for work in in_work:
            end(work)
        await asyncio.gather(*in_work, return_exceptions=True)

    def _note(self, order_id: str, work: asyncio.Task[Answer]) -> None:
        self._in_work.pop(order_id, None)
        if work.cancelled() or work.exception() is not None:
            return
        answer = self._answers[order_id] = work.result()
        self._kept_bytes += len(bytes(answer.result))
        while len(self._answers) > MOST_KEPT or (self._kept_bytes > MOST_KEPT_BYTES and len(self._answers) > 1):
            _, oldest = self._answers.popitem(last=False)
            self._kept_bytes -= len(bytes(oldest.result))


class _Serving(AbstractAsyncContextManager[None]):
    """Not a generator: that of the channel is finalised in a forked child, where one around it could not be."""

    def __init__(self, orders: AnsweredOrders, receiving: AbstractAsyncContextManager[None]) -> None:
        self._orders = orders
        self._receiving = receiving

    async def __aenter__(self) -> None:
        await self._receiving.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._receiving.__aexit__(exc_type, exc, traceback)
        finally:
            await self._orders.close()


def serving(kernel: KernelApi, channel: OrderChannel, extra: ExtraCalls) -> AbstractAsyncContextManager[None]:
    """Carry out the orders of a channel while a block runs; `extra` are further calls, by name."""
    orders = AnsweredOrders(kernel, extra)
    return _Serving(orders, channel.serve(orders.answer))
