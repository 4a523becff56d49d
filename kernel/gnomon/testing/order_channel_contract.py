"""The contract of an order channel as tests: subclass OrderChannelContract, and provide both ends of one log.

    class TestMyChannel(OrderChannelContract):
        @pytest.fixture
        async def leading(self, tmp_path):
            return MyStore(tmp_path / "log").orders()

        @pytest.fixture
        async def following(self, tmp_path):
            return MyStore(tmp_path / "log").orders()

Only `leading` serves, so it may belong to a store that is open for writing.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.orders import Answer, Order, OrderError
from gnomon.errors import NoLeaderError, OrderLostError
from gnomon.ports import OrderChannel

PATIENCE_S = 30.0
"""Seconds in which a leader must be found that is there."""
SOON_S = 0.5
"""Seconds in which no leader is found."""


async def echo(order: Order) -> Answer:
    """Answer with the arguments of an order."""
    return Answer(order.arguments)


class Handler:
    """Answers each order when `release` is set. `received` has the orders, `cancelled` those that were withdrawn."""

    def __init__(self) -> None:
        self.received: list[Order] = []
        self.cancelled: list[Order] = []
        self.release = asyncio.Event()
        self.changed = asyncio.Event()

    async def __call__(self, order: Order) -> Answer:
        self.received.append(order)
        self.changed.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.append(order)
            self.changed.set()
            raise
        return Answer(order.arguments)

    async def has_received(self, number: int) -> None:
        """Return when that many orders have been received."""
        await self._until(lambda: len(self.received) >= number)

    async def has_cancelled(self, number: int) -> None:
        """Return when that many orders have been withdrawn."""
        await self._until(lambda: len(self.cancelled) >= number)

    async def _until(self, is_so: Any) -> None:
        async with asyncio.timeout(60):
            while not is_so():
                await self.changed.wait()
                self.changed.clear()


def order_of(arguments: Any, **fields: Any) -> Order:
    """Return an order with these arguments."""
    return Order("trigger", msgspec.Raw(msgspec.json.encode(arguments)), **fields)


class OrderChannelContract:
    """The obligations of the OrderChannel port."""

    largest = 1024 * 1024
    """Bytes of arguments and of a result that must pass."""
    at_once = 100
    """Orders that are in work at the same time."""

    @pytest.fixture
    async def leading(self) -> Any:
        """Provide the channel of the kernel that leads."""
        pytest.fail(f"{type(self).__name__} must override the fixture `leading`: return the channel of a leader")

    @pytest.fixture
    async def following(self) -> Any:
        """Provide the channel of another kernel on the same log."""
        pytest.fail(f"{type(self).__name__} must override the fixture `following`: return another channel of that log")

    async def test_an_order_reaches_the_leader_as_it_was_given(
        self, leading: OrderChannel, following: OrderChannel
    ) -> None:
        handler = Handler()
        handler.release.set()
        order = order_of({"job_id": "naïve 日本 🦑\n\x00", "kwargs": {"n": [1, 2.5, None, True]}}, waits=True)

        async with leading.serve(handler):
            answer = await following.submit(order, PATIENCE_S)

        assert msgspec.json.encode(handler.received) == msgspec.json.encode([order])
        assert msgspec.json.decode(answer.result) == msgspec.json.decode(order.arguments)

    async def test_an_error_is_answered_with_all_that_it_says(
        self, leading: OrderChannel, following: OrderChannel
    ) -> None:
        problem = OrderError(["gnomon.errors.JobError"], "no", {"key": "cron"})
        error = OrderError(["a.B", "gnomon.errors.GnomonError"], "2 are not valid", {"job_id": "é"}, {7: problem})

        async def refuse(order: Order) -> Answer:  # noqa: ARG001 - a handler
            return Answer(error=error)

        async with leading.serve(refuse):
            assert (await following.submit(order_of({}), PATIENCE_S)).error == error

    async def test_large_orders_and_answers_pass(self, leading: OrderChannel, following: OrderChannel) -> None:
        order = order_of("x" * self.largest)

        async with leading.serve(echo):
            assert bytes((await following.submit(order, PATIENCE_S)).result) == bytes(order.arguments)

    async def test_an_order_does_not_wait_for_those_before_it(
        self, leading: OrderChannel, following: OrderChannel
    ) -> None:
        handler = Handler()
        async with leading.serve(handler), asyncio.TaskGroup() as tasks:
            sent = [tasks.create_task(following.submit(order_of(n), PATIENCE_S)) for n in range(self.at_once)]
            await handler.has_received(self.at_once)
            handler.release.set()

        assert [msgspec.json.decode(one.result().result) for one in sent] == list(range(self.at_once))

    async def test_without_a_leader_an_order_is_refused_and_never_carried_out(
        self, leading: OrderChannel, following: OrderChannel
    ) -> None:
        handler = Handler()
        handler.release.set()
        with pytest.raises(NoLeaderError):
            await following.submit(order_of("too early"), SOON_S)

        async with leading.serve(handler):
            await following.submit(order_of("in time"), PATIENCE_S)

        assert [msgspec.json.decode(one.arguments) for one in handler.received] == ["in time"]

    async def test_an_order_waits_for_the_next_leader(self, leading: OrderChannel, following: OrderChannel) -> None:
        sending = asyncio.create_task(following.submit(order_of(1), PATIENCE_S))
        await asyncio.sleep(0)
        async with leading.serve(echo):
            assert bytes((await sending).result) == b"1"

    async def test_leaders_follow_each_other_on_one_channel(
        self, leading: OrderChannel, following: OrderChannel
    ) -> None:
        for number in range(3):
            async with leading.serve(echo):
                assert bytes((await following.submit(order_of(number), PATIENCE_S)).result) == b"%d" % number
            with pytest.raises(NoLeaderError):
                await following.submit(order_of(number), SOON_S)

    async def test_an_order_that_was_received_and_not_answered_is_lost(
        self, leading: OrderChannel, following: OrderChannel
    ) -> None:
        handler = Handler()
        async with leading.serve(handler):
            sending = asyncio.create_task(following.submit(order_of(1, waits=True), PATIENCE_S))
            await handler.has_received(1)

        with pytest.raises(OrderLostError, match="may have been carried out"):
            await sending

    async def test_an_order_is_withdrawn_when_its_sender_goes_away(
        self, leading: OrderChannel, following: OrderChannel
    ) -> None:
        handler = Handler()
        async with leading.serve(handler):
            sending = asyncio.create_task(following.submit(order_of(1, waits=True), PATIENCE_S))
            await handler.has_received(1)
            sending.cancel()
            await handler.has_cancelled(1)

        with pytest.raises(asyncio.CancelledError):
            await sending

    async def test_processes_that_reach_no_leader_see_each_other(
        self, leading: OrderChannel, following: OrderChannel
    ) -> None:
        now = datetime.now(UTC)
        fields: dict[str, Any] = {"role": "follower", "since": now, "seen": now, "position": 7}
        members = [KernelMember(id=f"{number:024x}", node="naïve 日本", pid=number, **fields) for number in (12, 7)]
        for member in members:
            await following.announce(member)
        await following.announce(members[0])
        found = await leading.announced()
        if not found:
            pytest.skip("this channel shows nobody while no kernel leads")

        assert found == [members[1], members[0]]
        await following.retract(members[0].id)
        await following.retract(members[0].id)
        assert await leading.announced() == [members[1]]
        await following.retract(members[1].id)
        assert await following.announced() == []
