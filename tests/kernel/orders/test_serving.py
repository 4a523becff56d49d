"""The kernel that leads carries out each order once, and forgets old answers."""

import asyncio
from typing import Any

import msgspec
import pytest

from gnomon.domain.orders import Answer, Order
from gnomon.orders import serving
from gnomon.orders.serving import AnsweredOrders


class Counter:
    """Stands for the extra calls of a kernel: `calls` counts them, and each ends when `release` is set."""

    def __init__(self) -> None:
        self.calls = 0
        self.ended = 0
        self.release = asyncio.Event()
        self.begun = asyncio.Event()

    async def __call__(self) -> str:
        self.calls += 1
        self.begun.set()
        try:
            await self.release.wait()
        finally:
            self.ended += 1
        return "x" * 100


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def orders(counter: Counter) -> AnsweredOrders:
    kernel: Any = None  # extra calls need none
    return AnsweredOrders(kernel, {"count": counter})


async def test_a_repeated_order_has_the_answer_of_the_first(orders: AnsweredOrders, counter: Counter) -> None:
    order = Order("count", id="one")
    first, second = asyncio.ensure_future(orders.answer(order)), asyncio.ensure_future(orders.answer(order))
    await counter.begun.wait()
    counter.release.set()

    answers = [await first, await second, await orders.answer(order)]

    assert counter.calls == 1
    assert answers == [Answer(msgspec.Raw(msgspec.json.encode("x" * 100)))] * 3


async def test_an_order_goes_on_without_its_sender_and_its_answer_is_kept(
    orders: AnsweredOrders, counter: Counter
) -> None:
    asking = asyncio.ensure_future(orders.answer(Order("count", id="one")))
    await counter.begun.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    counter.release.set()

    assert (await orders.answer(Order("count", id="one"))).error is None
    assert counter.calls == 1


async def test_an_order_that_waits_is_withdrawn_with_its_sender(orders: AnsweredOrders, counter: Counter) -> None:
    asking = asyncio.ensure_future(orders.answer(Order("count", waits=True)))
    await counter.begun.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await orders.close()

    assert counter.ended == 1


async def test_what_is_in_work_ends_with_the_serving(orders: AnsweredOrders, counter: Counter) -> None:
    asking = asyncio.ensure_future(orders.answer(Order("count")))
    await counter.begun.wait()
    await orders.close()

    with pytest.raises(asyncio.CancelledError):
        await asking
    assert counter.ended == 1


@pytest.mark.parametrize(("limit", "value"), [("MOST_KEPT", 3), ("MOST_KEPT_BYTES", 350)])
async def test_only_the_newest_answers_are_kept(
    orders: AnsweredOrders, counter: Counter, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(serving, limit, value)
    counter.release.set()
    for number in range(10):
        await orders.answer(Order("count", id=str(number)))

    assert list(orders._answers) == ["7", "8", "9"]
    assert orders._kept_bytes == 3 * 102
