"""Carries out the orders that reach the kernel that leads, each of them once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import AbstractAsyncContextManager

from gnomon.api import KernelApi
from gnomon.domain.orders import Answer, Order
from gnomon.orders.calls import ExtraCalls, carry_out
from gnomon.ports import OrderChannel
from gnomon.tasks import end, protected

MOST_KEPT = 10_000
"""Orders whose answers are kept, for a sender that asks once more."""


class AnsweredOrders:
    """The orders that are in work or were answered lately, so that a repeated one is not carried out again."""

    def __init__(self, kernel: KernelApi, extra: ExtraCalls) -> None:
        self._kernel = kernel
        self._extra = extra
        self._orders: OrderedDict[str, asyncio.Task[Answer]] = OrderedDict()

    async def answer(self, order: Order) -> Answer:
        """Return the answer to an order; one that is cancelled before it has been answered counts as never given."""
        work = self._orders.get(order.id)
        if work is None:
            work = self._orders[order.id] = protected(carry_out(self._kernel, order, self._extra), "order")
            while len(self._orders) > MOST_KEPT and next(iter(self._orders.values())).done():
                self._orders.popitem(last=False)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if order.waits:
                self._orders.pop(order.id, None)
                end(work)
            raise


def serving(kernel: KernelApi, channel: OrderChannel, extra: ExtraCalls) -> AbstractAsyncContextManager[None]:
    """Carry out the orders of a channel while a block runs; `extra` are further calls, by name."""
    return channel.serve(AnsweredOrders(kernel, extra).answer)
