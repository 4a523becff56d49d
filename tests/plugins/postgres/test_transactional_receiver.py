"""Orders in the transactions of applications, from the side of the kernel that leads: the outcome of each."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import psycopg
import pytest
from structlog.testing import capture_logs

import gnomon_postgres
from gnomon import Kernel
from gnomon.domain.orders import Answer, Order, OrderError
from gnomon.domain.records import ActionQuery, ExecutionQuery
from gnomon.domain.run_order import RunOrder
from gnomon.errors import UnknownJobError
from gnomon.orders.serving import AnsweredOrders
from gnomon_postgres.orders.transactional_receiver import TransactionalReceiver
from gnomon_postgres.server import Server
from gnomon_shared_log.ports.lease_row import Term
from order_receiving import Connection, Gate, carry_out_some, lead, outcome_of, receiver_of


async def test_a_committed_order_is_one_run_whose_id_was_known(
    application: Connection, kernel: Kernel, receiver: TransactionalReceiver
) -> None:
    gone = await gnomon_postgres.trigger(application, "greet")
    await application.rollback()
    order = await gnomon_postgres.trigger(application, "greet", kwargs={"name": "Ada"}, labels={"a": "b"})
    assert await carry_out_some(receiver) == 0
    await application.commit()

    assert await carry_out_some(receiver) == 1
    assert await carry_out_some(receiver) == 0

    assert order.execution_id is not None
    run = await kernel.wait(order.execution_id)
    assert (run.return_value, run.labels, run.actor) == ("hello Ada", {"a": "b"}, "postgresql:gnomon")
    outcome = await outcome_of(application, order)
    assert (outcome.state, outcome.execution_id, outcome.problem) == ("done", run.id, None)
    assert outcome.answered is not None
    assert outcome.answered > outcome.placed
    assert await gnomon_postgres.order_outcome(application, gone.id) is None
    assert [one.id for one in (await kernel.executions(ExecutionQuery())).items] == [run.id]


async def test_an_order_whose_answer_was_not_written_is_not_done_twice(
    led_server: Server, application: Connection, kernel: Kernel, receiver: TransactionalReceiver
) -> None:
    placed = [
        await gnomon_postgres.trigger(application, "greet", kwargs={"name": "Ada"}),
        await gnomon_postgres.add_job(application, "json:dumps", id="dump", tags=["x"]),
        await gnomon_postgres.remove_job(application, "dump"),
    ]
    await application.commit()
    await lead(led_server, Term("the next kernel", 8))
    assert await carry_out_some(receiver) == 0  # carried out, and not answered: this kernel leads no longer
    assert {(await outcome_of(application, order)).state for order in placed} == {"pending"}

    again = receiver_of(led_server, AnsweredOrders(kernel, {}).answer, Term("the next kernel", 8))
    assert await carry_out_some(again) == 3

    assert [(await outcome_of(application, order)).state for order in placed] == ["done"] * 3
    assert len((await kernel.executions(ExecutionQuery())).items) == 1
    acts = await kernel.actions(ActionQuery(job_id="dump"))
    assert [act.action for act in acts.items] == ["remove", "add"]


async def test_an_order_that_the_kernel_refuses_can_be_found(
    application: Connection, kernel: Kernel, receiver: TransactionalReceiver
) -> None:
    unknown = await gnomon_postgres.trigger(application, "no such job")
    wrong = await gnomon_postgres.trigger(application, "greet", kwargs={"age": 7})
    second = await gnomon_postgres.cancel(application, "0" * 24)
    await application.commit()
    with capture_logs() as logs:
        assert await carry_out_some(receiver) == 3

    outcome = await outcome_of(application, unknown)
    assert (outcome.state, outcome.error) == ("refused", "UnknownJobError")
    assert outcome.problem == str(UnknownJobError("no such job"))
    assert (await outcome_of(application, wrong)).error == "JobError"
    assert (await outcome_of(application, second)).error == "UnknownExecutionError"
    warnings = [one for one in logs if one["event"] == "orders of transactions were refused"]
    assert [one["order"] for one in warnings] == [unknown.id, wrong.id, second.id]
    history = {act.job_id: act for act in (await kernel.actions(ActionQuery())).items}
    assert history["no such job"].actor == "postgresql:gnomon"
    because = history["no such job"].error_message
    assert because is not None
    assert because.startswith(f"{outcome.problem}; not valid either: order ")


async def test_orders_of_one_key_make_one_run(
    application: Connection, kernel: Kernel, receiver: TransactionalReceiver
) -> None:
    first = await gnomon_postgres.trigger(application, "greet", key="invoice 7")
    second = await gnomon_postgres.trigger(application, "greet", key="invoice 7")
    other = await gnomon_postgres.trigger(application, "greet", kwargs={"name": "x"}, key="invoice 7")
    of_ada = await gnomon_postgres.trigger(application, "greet", key="invoice 7", actor="ada")
    await application.commit()
    await carry_out_some(receiver)

    assert first.execution_id == second.execution_id == (await outcome_of(application, second)).execution_id
    assert (await outcome_of(application, other)).error == "IdempotencyKeyError"
    assert {one.id for one in (await kernel.executions(ExecutionQuery())).items} == {
        first.execution_id,
        of_ada.execution_id,
    }


async def test_an_order_that_is_refused_does_not_hold_up_the_others(
    application: Connection, kernel: Kernel, receiver: TransactionalReceiver
) -> None:
    many = await gnomon_postgres.trigger_many(application, [RunOrder("greet", {"name": str(n)}) for n in range(50)])
    await application.commit()
    assert await carry_out_some(receiver) == 50
    runs = {one.id: one.kwargs["name"] for one in (await kernel.executions(ExecutionQuery())).items}
    assert runs == {order.execution_id: str(n) for n, order in enumerate(many)}

    orders = [RunOrder("greet" if n != 7 else "no such job", {"name": str(n)}) for n in range(50)]
    many = await gnomon_postgres.trigger_many(application, orders)
    await application.execute(
        "INSERT INTO gnomon.transactional_orders (call, job_id, arguments) VALUES ('trigger', 'greet', %s)",
        ('{"kwargs": 7, "actor": []}',),
    )
    await application.commit()
    assert await carry_out_some(receiver) == 51
    assert (await kernel.executions(ExecutionQuery())).total == 99
    outcomes = [await outcome_of(application, order) for order in many]
    assert [one.state for one in outcomes] == ["done"] * 7 + ["refused"] + ["done"] * 42
    (act,) = (await kernel.actions(ActionQuery(job_id="no such job"))).items
    assert act.error_message == outcomes[7].problem


UNREADABLE = ('{"labels": {"a": 1e400}}', '{"actor": "\\ud800"}', '{"kwargs": ' + '{"a": ' * 3000 + "1" + "}" * 3001)
"""What a column of the type json accepts, and no kernel can read."""


async def test_an_order_that_nobody_can_read_is_refused_and_does_not_hold_up_the_others(
    application: Connection, kernel: Kernel, receiver: TransactionalReceiver
) -> None:
    insert = "INSERT INTO gnomon.transactional_orders (id, call, job_id, arguments) VALUES (%s, 'trigger', 'greet', %s)"
    for number, arguments in enumerate(UNREADABLE):
        await application.execute(insert, (f"odd {number}", arguments))
    placed = await gnomon_postgres.trigger(application, "greet")
    await application.commit()

    with capture_logs():
        assert await carry_out_some(receiver) == len(UNREADABLE) + 1

    for number in range(len(UNREADABLE)):
        found = await gnomon_postgres.order_outcome(application, f"odd {number}")
        assert found is not None
        assert (found.state, "cannot be read" in (found.problem or "")) == ("refused", True)
    assert (await outcome_of(application, placed)).state == "done"


async def test_orders_of_a_transaction_are_carried_out_one_after_the_other(
    application: Connection, kernel: Kernel, receiver: TransactionalReceiver
) -> None:
    await gnomon_postgres.add_job(application, "json:dumps", id="dump", kwargs={"obj": [1]})
    run = await gnomon_postgres.trigger(application, "dump")
    narrow = [await gnomon_postgres.trigger(application, "narrow") for _ in range(2)]
    cancelled = await gnomon_postgres.cancel(application, narrow[1].execution_id or "", reason="why")
    await gnomon_postgres.remove_job(application, "dump")
    await application.commit()
    await carry_out_some(receiver)

    assert run.execution_id is not None
    assert (await kernel.wait(run.execution_id)).return_value == "[1]"
    assert (await outcome_of(application, cancelled)).execution_id == narrow[1].execution_id
    assert (await kernel.execution(narrow[1].execution_id or "")).status == "cancelled"
    assert "dump" not in {view.job.id for view in await kernel.jobs()}


async def test_an_order_waits_for_room_in_a_queue_and_holds_up_no_other_job(
    application: Connection, kernel: Kernel, receiver: TransactionalReceiver, gate: Gate
) -> None:
    narrow = [await gnomon_postgres.trigger(application, "narrow") for _ in range(3)]
    refused = await gnomon_postgres.trigger(application, "narrow", when_full="raise")
    missed = await gnomon_postgres.trigger(application, "narrow", when_full="miss")
    cancelled = await gnomon_postgres.cancel(application, narrow[2].execution_id or "")
    other = await gnomon_postgres.trigger(application, "greet")
    await application.commit()
    await carry_out_some(receiver)

    states = [(await outcome_of(application, order)).state for order in (*narrow, refused, missed, cancelled, other)]
    assert states == ["done", "done", "pending", "refused", "done", "pending", "done"]
    assert (await kernel.execution(missed.execution_id or "")).status == "missed"
    assert receiver._full.retry_s is not None
    gate.open.set()
    while (await outcome_of(application, cancelled)).state == "pending":
        await carry_out_some(receiver)
        await asyncio.sleep(receiver._full.retry_s or 0)
    assert (await outcome_of(application, narrow[2])).state == "done"
    assert receiver._full.retry_s is None


async def test_an_order_expires_only_if_it_says_so(
    application: Connection, kernel: Kernel, receiver: TransactionalReceiver
) -> None:
    late = await gnomon_postgres.trigger(application, "greet", expires_in=timedelta(0))
    patient = await gnomon_postgres.trigger(application, "greet")
    await application.execute("UPDATE gnomon.transactional_orders SET placed = placed - interval '1 year'")
    await application.commit()
    await carry_out_some(receiver)

    assert (await outcome_of(application, late)).state == "expired"
    assert (await outcome_of(application, patient)).state == "done"
    assert [one.id for one in (await kernel.executions(ExecutionQuery())).items] == [patient.execution_id]


async def test_a_paused_job_runs_once_and_stays_paused(
    application: Connection, kernel: Kernel, receiver: TransactionalReceiver
) -> None:
    order = await gnomon_postgres.trigger(application, "paused")
    await application.commit()
    await carry_out_some(receiver)

    assert (await kernel.wait(order.execution_id or "")).status == "success"
    assert (await kernel.job("paused")).state.paused


async def test_orders_of_other_roles_may_name_only_functions_that_are_allowed(
    led_server: Server, application: Connection, kernel: Kernel, receiver: TransactionalReceiver
) -> None:
    own = await gnomon_postgres.add_job(application, "os:getcwd", id="own")
    allowed = await gnomon_postgres.add_job(application, "json:dumps", id="allowed", kwargs={"obj": 1})
    forbidden = await gnomon_postgres.add_job(application, "os:getcwd", id="forbidden")
    await application.execute(
        "UPDATE gnomon.transactional_orders SET placed_by = 'shop' WHERE id = ANY(%s)", ([allowed.id, forbidden.id],)
    )
    await application.commit()
    await carry_out_some(receiver)

    assert (await outcome_of(application, own)).state == (await outcome_of(application, allowed)).state == "done"
    assert (await outcome_of(application, forbidden)).error == "FunctionNotAllowedError"


async def test_a_trigger_of_the_database_can_place_an_order(
    application: Connection, kernel: Kernel, receiver: TransactionalReceiver
) -> None:
    await application.execute("""
        CREATE TABLE invoices (number bigint);
        CREATE FUNCTION order_run() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                INSERT INTO gnomon.transactional_orders (call, job_id, arguments) VALUES (
                    'trigger', 'greet', json_build_object('kwargs', json_build_object('name', NEW.number::text))
                );
                RETURN NEW;
            END
        $$;
        CREATE TRIGGER order_run AFTER INSERT ON invoices FOR EACH ROW EXECUTE FUNCTION order_run();
        INSERT INTO invoices VALUES (7), (8);
    """)
    await application.commit()
    await carry_out_some(receiver)

    runs = [await kernel.wait(one.id) for one in (await kernel.executions(ExecutionQuery())).items]
    assert {run.return_value for run in runs} == {"hello 7", "hello 8"}


@pytest.mark.parametrize(
    "row", [("step_down", "a", "{}"), ("trigger", None, "{}"), ("trigger", "a", "[]")], ids=["call", "job", "arguments"]
)
async def test_the_database_refuses_what_no_kernel_could_carry_out(
    row: tuple[str | None, ...], application: Connection
) -> None:
    insert = "INSERT INTO gnomon.transactional_orders (call, job_id, arguments) VALUES (%s, %s, %s)"
    with pytest.raises(psycopg.errors.CheckViolation):
        await application.execute(insert, row)


async def test_an_order_stays_while_the_store_is_away(led_server: Server, application: Connection) -> None:
    async def away(order: Order) -> Answer:
        return Answer(error=OrderError(["gnomon.errors.DeposedError", "gnomon.errors.StoreError"], "lost the log"))

    order = await gnomon_postgres.trigger(application, "greet")
    await application.commit()

    assert await carry_out_some(receiver_of(led_server, away)) == 0
    assert (await outcome_of(application, order)).state == "pending"


async def test_answered_orders_are_deleted_after_30_days(
    led_server: Server, application: Connection, kernel: Kernel, receiver: TransactionalReceiver
) -> None:
    old, new, pending = [await gnomon_postgres.trigger(application, "greet") for _ in range(3)]
    await application.execute(
        "UPDATE gnomon.transactional_orders SET state = 'done', answered = now() - interval '29 days' WHERE id <> %s",
        (pending.id,),
    )
    await application.execute(
        "UPDATE gnomon.transactional_orders SET answered = now() - interval '31 days' WHERE id = %s", (old.id,)
    )
    await application.commit()
    await carry_out_some(receiver)

    assert await gnomon_postgres.order_outcome(application, old.id) is None
    assert {(await outcome_of(application, order)).state for order in (new, pending)} == {"done"}
