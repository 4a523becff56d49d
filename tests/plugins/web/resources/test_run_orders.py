"""Lists of orders, and full queues, over HTTP and through the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gnomon import Duration, Job, OverrideError, QueueFullError, RunOrder, RunOrdersError, UnknownJobError
from gnomon.client import Client, ordering

ORDERS = "/scheduler/executions"


class Work:
    """A job with one run at a time and room for two more, whose bodies end when the test says so."""

    def __init__(self, **policies: Any) -> None:
        self._slots = asyncio.Semaphore(0)
        self.job = Job(id="work", func=self.body, **{"queue_limit": 2, **policies})

    async def body(self, n: int = 0) -> int:
        await self._slots.acquire()
        return n

    def finish(self, count: int = 1) -> None:
        for _ in range(count):
            self._slots.release()


@pytest.fixture
def work() -> Work:
    return Work()


def orders(*numbers: int, **options: Any) -> list[dict[str, Any]]:
    return [{"job_id": "work", "kwargs": {"n": n}, **options} for n in numbers]


async def test_a_list_is_accepted_and_answered_in_order(serve: Any, work: Work) -> None:
    listed = [*orders(1, idempotency_key="a", labels={"tenant": "7"}), *orders(2, 3)]
    async with serve(work.job, guarded=True) as ask:
        first = await ask("POST", ORDERS, as_="operator", json={"orders": listed})
        again = await ask("POST", ORDERS, as_="operator", json={"orders": listed[:1]})
        refused = await ask("POST", ORDERS, as_="viewer", json={"orders": listed})
        ids = [one["_id"] for one in first.json["items"]]
        work.finish(3)
        ended = await ask.kernel.wait_many(ids)

    assert (first.status, again.status, refused.status) == (202, 202, 403)
    assert [one.return_value for one in ended] == [1, 2, 3]
    assert [one.labels for one in ended] == [{"tenant": "7"}, {}, {}]
    assert {one.actor for one in ended} == {"operator"}
    assert [(one["_id"], one["repeated"]) for one in again.json["items"]] == [(ids[0], True)]


async def test_triggers_that_join_a_waiting_run_say_so(serve: Any, work: Work) -> None:
    work = Work(debounce=Duration(hours=1))
    async with serve(work.job) as ask, Client(ask.web.url) as client:
        first = await ask("POST", "/scheduler/trigger", json={"job_id": "work"})
        second = await ask("POST", "/scheduler/trigger", json={"job_id": "work"})
        third = await client.trigger("work")
        fourth = await ask("POST", ORDERS, json={"orders": orders(1, 1)})
        detail = await ask("GET", "/scheduler/jobs/work")

    assert [(one.status, one.json["joined"], one.json["repeated"]) for one in (first, second)] == [
        (202, False, False),
        (202, True, False),
    ]
    assert {one.json["_id"] for one in (first, second)} == {third.execution.id}
    assert first.json["not_before"] is not None
    assert (third.joined, third.is_new) == (True, False)
    assert [one["joined"] for one in fourth.json["items"]] == [False, True]
    assert detail.json["policies"]["debounce"] == "1h"


async def test_a_full_queue_is_answered_with_429_and_when_to_come_back(serve: Any, work: Work) -> None:
    async with serve(work.job) as ask:
        too_many = await ask("POST", ORDERS, json={"orders": orders(1, 2, 3, 4)})
        assert (await ask("POST", ORDERS, json={"orders": orders(1, 2, 3)})).status == 202
        answers = [
            await ask("POST", "/scheduler/trigger", json={"job_id": "work"}),
            await ask("POST", "/scheduler/jobs/work/trigger", json={}),
        ]
        missed = await ask("POST", "/scheduler/trigger", json={"job_id": "work", "when_full": "miss"})
        also = await ask("POST", ORDERS, json={"orders": orders(4, 5), "when_full": "miss"})
        total = (await ask("GET", "/scheduler/executions")).json["total"]

    for answer in (too_many, *answers):
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        assert answer.json["type"].endswith("#queue-full")
        assert (answer.json["job_id"], answer.json["queue_limit"]) == ("work", 2)
    assert [one.json["waiting"] for one in (too_many, *answers)] == [0, 2, 2]
    assert (missed.json["status"], missed.json["reason"]) == ("missed", "capacity")
    assert [one["status"] for one in also.json["items"]] == ["missed", "missed"]
    assert total == 6


async def test_each_order_that_is_not_valid_is_named(serve: Any, work: Work) -> None:
    bad: list[dict[str, Any]] = [{"job_id": "wrok"}, {"job_id": "work", "kwargs": {"m": 1}}]
    async with serve(work.job) as ask:
        answer = await ask("POST", ORDERS, json={"orders": [*orders(1), *bad]})
        bodies: list[Any] = [{}, {"orders": []}, {"orders": [{}]}, {"orders": orders(1), "when_full": "wait"}]
        shapes = [(await ask("POST", ORDERS, json=body)).status for body in bodies]
        total = (await ask("GET", "/scheduler/executions")).json["total"]

    assert (answer.status, answer.json["type"].rpartition("#")[2]) == (422, "invalid-orders")
    assert [one["name"] for one in answer.json["errors"]] == ["orders[1].job_id", "orders[2].kwargs"]
    assert "did you mean 'work'?" in answer.json["errors"][0]["detail"]
    assert shapes == [422] * 4
    assert total == 0


async def test_a_limited_token_orders_only_its_own_jobs(serve: Any, work: Work) -> None:
    from gnomon_web.auth.roles import Scope
    from gnomon_web.auth.scoped_kernel import ScopedKernel

    async def other() -> None: ...

    async with serve(work.job, other) as ask:
        scoped = ScopedKernel(ask.kernel, Scope(jobs=("work",)))
        accepted = await scoped.trigger_many([RunOrder("work", {"n": 1})])
        with pytest.raises(UnknownJobError):
            await scoped.trigger_many([RunOrder("work"), RunOrder("other")])
        work.finish()
        (ended,) = await scoped.wait_many([accepted[0].execution.id])

    assert ended.return_value == 1


# --- the client


@pytest.fixture
async def ask_and_client(serve: Any, work: Work, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Any, Client]]:
    monkeypatch.setattr(ordering, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(ordering, "LONGEST_PAUSE_S", 0.01)
    async with AsyncExitStack() as stack:
        ask = await stack.enter_async_context(serve(work.job))
        yield ask, await stack.enter_async_context(Client(ask.web.url))


async def test_the_client_orders_lists_and_waits_for_their_ends(ask_and_client: tuple[Any, Client], work: Work) -> None:
    _, client = ask_and_client
    work.finish(3)
    accepted = await client.trigger_many([RunOrder("work", {"n": n}) for n in (1, 2, 3)])
    ended = await client.wait_many(one.execution.id for one in accepted)

    assert [one.return_value for one in ended] == [1, 2, 3]
    assert all(one.is_new for one in accepted)
    assert await client.trigger_many([]) == []


async def test_the_client_raises_the_errors_of_the_kernel(ask_and_client: tuple[Any, Client]) -> None:
    _, client = ask_and_client
    await client.trigger_many([RunOrder("work", {"n": n}) for n in (1, 2, 3)])

    with pytest.raises(QueueFullError) as single:
        await client.trigger("work")
    with pytest.raises(QueueFullError) as several:
        await client.trigger_many([RunOrder("work"), RunOrder("work")])
    with pytest.raises(RunOrdersError, match=r"1 of 2 orders are not valid.*order 1: ") as invalid:
        await client.trigger_many([RunOrder("work"), RunOrder("wrok")])

    assert [(one.value.job_id, one.value.waiting, one.value.limit) for one in (single, several)] == [("work", 2, 2)] * 2
    assert list(invalid.value.problems) == [1]
    assert not isinstance(invalid.value, OverrideError)
    assert (await client.trigger("work", when_full="miss")).execution.reason == "capacity"


async def test_the_client_waits_for_room(ask_and_client: tuple[Any, Client], work: Work) -> None:
    ask, client = ask_and_client
    await client.trigger_many([RunOrder("work", {"n": n}) for n in (1, 2, 3)])
    one = asyncio.create_task(client.trigger("work", kwargs={"n": 4}, when_full="wait"))
    work.finish(4)
    assert (await client.wait((await one).execution.id)).return_value == 4

    many = asyncio.create_task(
        client.trigger_many([RunOrder("work", {"n": n}) for n in range(10, 20)], when_full="wait")
    )
    work.finish(10)
    ended = await ask.kernel.wait_many([run.execution.id for run in await many])
    assert [run.return_value for run in ended] == list(range(10, 20))
