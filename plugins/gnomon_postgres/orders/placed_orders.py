"""What an application orders in its own transaction, before it is placed: rows of the table `transactional_orders`.

`call` is a method of KernelApi. `arguments` are those of that method by name, without `job_id`, which is a column. The
kernel that leads adds what depends on the order: its key, its actor, and whether it may name any function
(transactional_receiver.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

import msgspec

from gnomon.domain.execution import manual_execution_id
from gnomon.domain.given_values import ACT_TEXTS, check_key, expect_act_texts, expect_order
from gnomon.domain.job_order import JobOrder
from gnomon.domain.labels import label_problem
from gnomon.domain.orders import new_order_id
from gnomon.domain.parameter_checks import SHOWN
from gnomon.domain.run_order import RunOrder, WhenFull
from gnomon.errors import GnomonError, JobError, ParameterError, RunOrdersError
from gnomon.jobs.body import make_body
from gnomon.jobs.durable import check_durable
from gnomon.jobs.job import Job
from gnomon.jobs.plain_functions import job_of
from gnomon.jobs.registered import json_definition, own_arguments
from gnomon.orders.calls import write_order
from gnomon.safe_text import safe_repr
from gnomon_postgres.schema.order_tables import LONGEST_JOB_ID, MOST_BYTES

OrderCall: TypeAlias = Literal["trigger", "order_job", "cancel"]
OutcomeState: TypeAlias = Literal["pending", "done", "refused", "expired"]
LONGEST_TIME = timedelta(days=365_000)
"""The calendar of the server ends some time later."""


class PlacedOrder(msgspec.Struct, frozen=True):
    """An order that exists as soon as the transaction commits, and never if it does not.

    `id` finds its outcome: `order_outcome`. `execution_id` is the run that a trigger makes, known ahead; a job with
    `debounce` may join the order to another run, which the outcome then names. It is None for orders about jobs.
    """

    id: str
    job_id: str | None = None
    execution_id: str | None = None


class OrderOutcome(msgspec.Struct, frozen=True):
    """The outcome of an order.

    `state` is "pending" until a kernel that leads has carried it out; then "done", "refused" where the kernel has
    refused it, with the class of its `error` and the `problem` as text, or "expired" where it came too late.
    `execution_id` is the run that a trigger has made, or the one that had its key before. `placed_by` is the role of
    the database that has placed it.
    """

    id: str
    state: OutcomeState
    execution_id: str | None
    error: str | None
    problem: str | None
    placed: datetime
    placed_by: str
    answered: datetime | None


class NewOrder(msgspec.Struct, frozen=True):
    """A row that is to be inserted. `expires_s` are seconds from then on."""

    call: OrderCall
    job_id: str | None
    arguments: str
    expires_s: float | None
    key: str | None = None
    actor: str | None = None
    id: str = msgspec.field(default_factory=new_order_id)

    @property
    def row(self) -> tuple[Any, ...]:
        """The values of the columns."""
        return self.id, self.call, self.job_id, self.arguments, self.expires_s

    def placed(self, role: str) -> PlacedOrder:
        """Return the order as its transaction has it; `role` is that of the database which has placed it."""
        run = None
        if self.call == "trigger" and self.job_id is not None:
            actor, key = actor_of(self.actor, role), self.key if self.key is not None else self.id
            run = manual_execution_id(self.job_id, _UNUSED, key, actor)
        return PlacedOrder(self.id, self.job_id, run)


_UNUSED = datetime.fromtimestamp(0, UTC)
"""The time of a run that has a key is not a part of its id."""


def actor_of(actor: str | None, role: str) -> str:
    """Return the actor of an order: the one that it names, or the role of the database."""
    return actor if actor is not None else f"postgresql:{role}"


def run_order(
    order: RunOrder, actor: str | None, when_full: WhenFull, expires_in: timedelta | None, triggered_by: str | None
) -> NewOrder:
    """Return the order that triggers a job; JobError for arguments that are not JSON, IdempotencyKeyError."""
    if (problem := label_problem(order.labels)) is not None:
        raise JobError(problem)
    arguments = {
        "kwargs": order.kwargs or None,
        "labels": order.labels or None,
        "force": order.force or None,
        "actor": actor,
        "idempotency_key": order.idempotency_key,
        "when_full": when_full if when_full != "wait" else None,
        "triggered_by": triggered_by,
    }
    return _new_order("trigger", order.job_id, arguments, expires_in, order.idempotency_key, actor)


def run_orders(
    orders: Sequence[RunOrder], actor: str | None, when_full: WhenFull, expires_in: timedelta | None
) -> list[NewOrder]:
    """Return the orders that trigger jobs; RunOrdersError has the problems of all that are not valid."""
    valid: list[NewOrder] = []
    problems: dict[int, GnomonError] = {}
    for number, order in enumerate(orders):
        try:
            expect_order(order)
            valid.append(run_order(order, actor, when_full, expires_in, None))
        except GnomonError as exc:
            problems[number] = exc
    if problems:
        raise RunOrdersError(problems, len(orders))
    return valid


def addition(
    job: Job | Callable[..., Any] | str, keys: Mapping[str, Any], order: Mapping[str, Any], *, replace: bool
) -> NewOrder:
    """Return the order that adds a job; JobError for one that the log could not bring back, TriggerError.

    The function is looked for where the kernel leads, and so are triggers and exclusions, which may be code, too.
    """
    declared = job_of(job, keys)
    check_durable(declared)
    if declared.trigger is None and not declared.schedules:
        msgspec.structs.replace(declared, exclude=[]).build_trigger()
    types = make_body(declared).types if callable(declared.func) else None
    args, kwargs = own_arguments(declared, MOST_BYTES, types)
    declared = msgspec.structs.replace(declared, args=args, kwargs=kwargs)
    definition = {key: value for key, value in json_definition(declared, declared.given()).items() if key != "id"}
    return job_order("replace" if replace else "add", declared.id, definition, **order)


def job_order(
    how: Literal["add", "replace", "remove"],
    job_id: str,
    keys: Mapping[str, Any],
    *,
    owner: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    key: str | None = None,
    expires_in: timedelta | None = None,
) -> NewOrder:
    """Return the order that adds, replaces or removes a job."""
    expect_act_texts({"owner": owner})
    order = JobOrder(how=how, job_id=job_id, keys=dict(keys), owner=owner)
    arguments = {"order": order, "idempotency_key": key, "actor": actor, "reason": reason}
    return _new_order("order_job", job_id, arguments, expires_in, key, actor)


def cancellation(execution_id: str, actor: str | None, reason: str | None, expires_in: timedelta | None) -> NewOrder:
    """Return the order that cancels a run."""
    arguments = {"execution_id": execution_id, "actor": actor, "reason": reason}
    return _new_order("cancel", None, arguments, expires_in, None, actor)


def _new_order(
    call: OrderCall,
    job_id: str | None,
    arguments: dict[str, Any],
    expires_in: timedelta | None,
    key: str | None,
    actor: str | None,
) -> NewOrder:
    if job_id is not None and not (0 < len(job_id) <= LONGEST_JOB_ID and job_id.isprintable()):
        expected = f"1 to {LONGEST_JOB_ID} printable characters"
        raise JobError(f"job_id: expected the id of a job, {expected}, got {safe_repr(job_id, SHOWN)}")
    if key is not None:
        check_key(key)
    expect_act_texts({name: arguments.get(name) for name in ACT_TEXTS})
    given = {name: value for name, value in arguments.items() if value is not None}
    first = (job_id,) if call == "trigger" else ()
    written = msgspec.json.decode(write_order(call, *first, **given).arguments)
    written.pop("job_id", None)
    encoded = msgspec.json.encode(written)
    if len(encoded) > MOST_BYTES:
        raise JobError(
            f"the order has {len(encoded):,} bytes of arguments, and {MOST_BYTES:,} are allowed: keep large data "
            "elsewhere and pass a reference to it, such as a path or a key"
        )
    return NewOrder(call, job_id, encoded.decode(), _seconds(expires_in), key, actor)


def _seconds(expires_in: timedelta | None) -> float | None:
    """Return the seconds until an order expires; a time that is over already is 0, and a time without end an error."""
    if expires_in is None:
        return None
    if expires_in > LONGEST_TIME:
        expected = f"at most {LONGEST_TIME.days:,} days, or None for an order that does not expire"
        raise ParameterError("expires_in", f"expires_in: expected {expected}, got {expires_in}")
    return max(expires_in.total_seconds(), 0.0)
