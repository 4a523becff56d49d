"""Passes a call to the kernel that leads."""

from __future__ import annotations

from typing import Any, TypeVar

from gnomon.domain.orders import Order
from gnomon.orders.calls import read_answer, read_result, write_order
from gnomon.ports import OrderChannel

T = TypeVar("T")


async def submit_call(channel: OrderChannel, name: str, /, *args: Any, limit_s: float, **kwargs: Any) -> Any:
    """Call a method of KernelApi on the kernel that leads, and return what it returned or raise what it raised.

    NoLeaderError where nobody leads until the limit, in seconds; OrderLostError where the leader did not answer.
    """
    return read_answer(name, await channel.submit(write_order(name, *args, **kwargs), limit_s))


async def submit_extra(channel: OrderChannel, call: str, expected: type[T], *, limit_s: float) -> T:
    """Call what the kernel that leads answers beside KernelApi: its health, or an extra call such as "reload"."""
    result: T = read_result(await channel.submit(Order(call), limit_s), expected)
    return result
