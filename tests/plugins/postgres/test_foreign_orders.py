"""Orders that other programs have inserted, in any number and form: each has one outcome, and none holds up others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from structlog.testing import capture_logs

import gnomon_postgres
from gnomon import Kernel, RunOrder
from gnomon.domain.orders import Answer, Order
from gnomon.domain.records import ExecutionQuery
from gnomon.errors import StoreUnavailableError
from gnomon.orders.serving import AnsweredOrders
from gnomon_postgres.log.change_source import PostgresChangeSource
from gnomon_postgres.orders import pending_orders
from gnomon_postgres.orders.pending_orders import Outcome, PendingOrders
from gnomon_postgres.orders.transactional_receiver import TransactionalReceiver
from gnomon_postgres.server import Server
from gnomon_shared_log.change_feed import ChangeFeed
from gnomon_shared_log.ports.lease_row import Term
from order_receiving import Connection, Gate, carry_out_some, outcome_of, receiver_of
from servers import eventually

INSERT = (
    "INSERT INTO gnomon.transactional_orders (id, call, job_id, arguments, expires) "
    "VALUES (%s, %s, %s, CAST(%s AS json), CAST(%s AS timestamptz))"
)
DONE = [
    ("trigger", "greet", "{}", "infinity"),
    ("trigger", "greet", '{"kwargs": null, "labels": null, "idempotency_key": null, "actor": null}', None),
    ("trigger", "greet", '{"kwargs": {"name": "\\u0000"}, "kwargs": {"name": "of two the last"}}', None),
    ("trigger", "greet", '{"job_id": "no such job"}', None),
    ("trigger", "greet", '{"resume": true, "force": true, "when_full": "miss"}', None),
]
EXPIRED = [("trigger", "greet", "{}", "-infinity"), ("trigger", "no such job", "{}", "2020-01-01")]
REFUSED = [
    ("trigger", "\x01", "{}", None),
    ("trigger", "no such job", "{}", None),
    ("trigger", "greet", '{"kwargs": [1]}', None),
    ("trigger", "greet", '{"kwargs": {"name": 1e400}}', None),
    ("trigger", "greet", '{"kwargs": {"nme": "x"}}', None),
    ("trigger", "greet", '{"kwargs": {"name": "\\ud800"}}', None),
    ("trigger", "greet", '{"labels": 5}', None),
    ("trigger", "greet", '{"labels": {"": ""}}', None),
    ("trigger", "greet", '{"force": "yes"}', None),
    ("trigger", "greet", '{"idempotency_key": ""}', None),
    ("trigger", "greet", '{"idempotency_key": 7}', None),
    ("trigger", "greet", '{"actor": "kernel"}', None),
    ("trigger", "greet", '{"actor": {"a": []}}', None),
    ("trigger", "greet", '{"when_full": "never"}', None),
    ("trigger", "greet", '{"when_full": 3}', None),
    ("trigger", "greet", '{"triggered_by": "nothing"}', None),
    ("trigger", "greet", '{"unknown": 1}', None),
    ("order_job", "x", "{}", None),
    ("order_job", "x", '{"order": 7}', None),
    ("order_job", "x", '{"order": {"how": "add", "job_id": "x", "keys": {"func": 7}}}', None),
    ("order_job", "x", '{"order": {"how": "remove", "job_id": "x"}, "idempotency_key": []}', None),
    ("cancel", None, "{}", None),
    ("cancel", "greet", '{"execution_id": 5}', None),
    ("cancel", None, '{"execution_id": "\\u0000"}', None),
]


@pytest.mark.parametrize("most", [1, 200])
async def test_every_row_has_one_outcome_that_is_explained(
    application: Connection, receiver: TransactionalReceiver, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(pending_orders, "MOST_AT_ONCE", most)
    rows = {f"{number} {'ü' * 250}": row for number, row in enumerate((*DONE, *EXPIRED, *REFUSED))}
    for order_id, row in rows.items():
        await application.execute(INSERT, (order_id, *row))
    await application.execute(INSERT, ("\N{ZERO WIDTH SPACE}", "trigger", "greet", "{}", None))
    last = await gnomon_postgres.trigger(application, "greet")
    await application.commit()
    with capture_logs():
        while await carry_out_some(receiver):
            pass

    for order_id, row in rows.items():
        found = await outcome_of(application, order_id)
        assert found.state == ("done" if row in DONE else "expired" if row in EXPIRED else "refused"), row
        assert bool(found.problem) == bool(found.error) == (row in REFUSED), row
    assert (await outcome_of(application, "\N{ZERO WIDTH SPACE}")).error == "IdempotencyKeyError"
    assert (await outcome_of(application, last)).state == "done"


def counting(handler: Callable[[Order], Awaitable[Answer]], calls: list[str]) -> Callable[[Order], Awaitable[Answer]]:
    async def count(order: Order) -> Answer:
        calls.append(order.call)
        return await handler(order)

    return count


async def test_many_orders_that_are_refused_cost_one_call_and_one_line_of_the_log(
    led_server: Server, application: Connection, kernel: Kernel
) -> None:
    calls: list[str] = []
    receiver = receiver_of(led_server, counting(AnsweredOrders(kernel, {}).answer, calls))
    await application.execute(
        "INSERT INTO gnomon.transactional_orders (call, job_id) "
        "SELECT 'trigger', CASE n % 2 WHEN 0 THEN 'greet' ELSE 'no such job' END FROM generate_series(1, 200) AS n"
    )
    await application.commit()
    with capture_logs() as logs:
        assert await carry_out_some(receiver) == 200

    assert calls == ["trigger_many"] * 2
    assert [(one["job"], one["orders"]) for one in logs if one["event"] == "orders of transactions were refused"] == [
        ("no such job", 100)
    ]
    assert (await kernel.executions(ExecutionQuery())).total == 100


async def test_one_key_that_belongs_to_another_request_does_not_part_a_list_into_single_calls(
    led_server: Server, application: Connection, kernel: Kernel
) -> None:
    calls: list[str] = []
    receiver = receiver_of(led_server, counting(AnsweredOrders(kernel, {}).answer, calls))
    await gnomon_postgres.trigger(application, "greet", key="k")
    await application.commit()
    await carry_out_some(receiver)
    calls.clear()
    await gnomon_postgres.trigger_many(application, [RunOrder("greet", {"name": str(n)}) for n in range(99)])
    wrong = await gnomon_postgres.trigger(application, "greet", kwargs={"name": "x"}, key="k")
    await application.commit()
    with capture_logs():
        assert await carry_out_some(receiver) == 100

    assert (await outcome_of(application, wrong)).error == "IdempotencyKeyError"
    assert len(calls) < 20


async def test_orders_behind_many_for_a_full_queue_are_carried_out(
    led_server: Server, application: Connection, kernel: Kernel, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_orders, "MOST_AT_ONCE", 10)
    monkeypatch.setattr(pending_orders, "MOST_OF_FULL", 4)
    calls: list[str] = []
    receiver = receiver_of(led_server, counting(AnsweredOrders(kernel, {}).answer, calls))
    narrow = await gnomon_postgres.trigger_many(application, [RunOrder("narrow") for _ in range(40)])
    cancelled = [await gnomon_postgres.cancel(application, f"{n:024}") for n in range(12)]
    others = await gnomon_postgres.trigger_many(application, [RunOrder("greet") for _ in range(25)])
    await application.commit()
    with capture_logs():
        for _ in range(20):
            await carry_out_some(receiver)
        states = {(await outcome_of(application, order)).state for order in others}
        assert states == {"done"}
        assert len(calls) < 100  # one by one, the 40 would have been tried twice with so many
        assert [(await outcome_of(application, order)).state for order in narrow].count("pending") == 38

        gate.open.set()
        while (await outcome_of(application, narrow[-1])).state == "pending":
            await carry_out_some(receiver)
            await asyncio.sleep(receiver._full.retry_s or 0)
        while await carry_out_some(receiver):
            pass
    assert {(await outcome_of(application, order)).state for order in narrow} == {"done"}
    assert {(await outcome_of(application, order)).error for order in cancelled} == {"UnknownExecutionError"}
    runs = (await kernel.executions(ExecutionQuery(job_id="narrow", limit=100))).items
    assert sorted(run.id for run in runs) == sorted(order.execution_id or "" for order in narrow)


async def test_large_orders_are_read_a_few_at_a_time(
    led_server: Server, application: Connection, receiver: TransactionalReceiver
) -> None:
    rows = [("trigger", "greet", '{"kwargs": {"name": "' + "x" * 3_000_000 + '"}}', None) for _ in range(5)]
    for number, row in enumerate(rows):
        await application.execute(INSERT, (str(number), *row))
    await application.commit()

    assert [one.id for one in await PendingOrders(led_server).next([])] == ["0", "1", "2"]
    with capture_logs():
        while await carry_out_some(receiver):
            pass
    assert {(await outcome_of(application, str(number))).state for number in range(5)} == {"refused"}


async def test_outcomes_that_could_not_be_written_are_written_again_and_nothing_is_carried_out_twice(
    led_server: Server, application: Connection, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    write, failures = PendingOrders.answer, iter(range(3))

    async def answer(self: PendingOrders, outcomes: Sequence[Outcome], term: Term) -> bool:
        if next(failures, None) is not None:
            raise StoreUnavailableError("the server is away")
        return await write(self, outcomes, term)

    monkeypatch.setattr(PendingOrders, "answer", answer)
    receiver = receiver_of(led_server, counting(AnsweredOrders(kernel, {}).answer, calls))
    refused = await gnomon_postgres.trigger(application, "no such job")
    await application.commit()
    with capture_logs() as logs:
        running = asyncio.create_task(receiver.run(ChangeFeed(PostgresChangeSource(led_server), "orders")))
        await eventually(lambda: logs and logs[-1]["event"] == "orders of transactions were refused")
        running.cancel()

    assert (await outcome_of(application, refused)).state == "refused"
    assert calls == ["trigger_many"]
    assert [one["event"] for one in logs].count("orders of transactions were refused") == 1
