"""An order of an application as the call of KernelApi that it is, and the answer as its outcome."""

from __future__ import annotations

from typing import Any

import msgspec

from gnomon.domain.orders import Answer, Order, OrderError
from gnomon.domain.run_order import RunOrder
from gnomon.errors import GnomonError
from gnomon.text import writable
from gnomon_postgres.orders.pending_orders import Outcome, PendingOrder
from gnomon_postgres.orders.placed_orders import actor_of

OF_RUN = frozenset(RunOrder.__struct_fields__)


class Call(msgspec.Struct, frozen=True):
    """A call of KernelApi; `waits` if it is to be repeated while a queue has no room."""

    name: str
    arguments: dict[str, Any]
    waits: bool

    @property
    def order(self) -> Order:
        return Order(self.name, msgspec.Raw(msgspec.json.encode(self.arguments)))

    @property
    def list_kind(self) -> tuple[str, str] | None:
        """What all calls of a list share; None for one that cannot be in a list.

        What an application has written may be of any type.
        """
        actor, when_full = self.arguments.get("actor"), self.arguments.get("when_full")
        fits = self.name == "trigger" and self.arguments.keys() <= OF_RUN | {"actor", "when_full"}
        return (actor, when_full) if fits and isinstance(actor, str) and isinstance(when_full, str) else None


class _Run(msgspec.Struct, frozen=True):
    id: str


class _Triggered(msgspec.Struct, frozen=True):
    execution: _Run


def call_of(pending: PendingOrder) -> Call:
    """Return the call that an order is; GnomonError. The kernel must not wait: it would hold up other orders."""
    try:
        given: dict[str, Any] = msgspec.json.decode(pending.arguments)
    except (msgspec.MsgspecError, RecursionError) as exc:  # such as of the number 1e400, which the server accepts
        raise GnomonError(f"the arguments of the order cannot be read: {exc}") from exc
    arguments = {name: value for name, value in given.items() if value is not None}  # null counts as left out
    arguments["actor"] = actor_of(arguments.get("actor"), pending.placed_by)
    if pending.call == "trigger":
        arguments = {"resume": False, "when_full": "wait"} | arguments | {"job_id": pending.job_id}
    if pending.call == "order_job":
        arguments["trusted"] = pending.is_own
    if pending.call != "cancel" and "idempotency_key" not in arguments:
        arguments["idempotency_key"] = pending.id
    waits = arguments.get("when_full") == "wait"
    if waits:
        arguments["when_full"] = "raise"
    return Call(pending.call, arguments, waits)


def kinds_of(answer: Answer) -> set[str]:
    """Return the names of the error's class and of those above it; none without an error."""
    return {kind.rpartition(".")[2] for kind in answer.error.kinds} if answer.error is not None else set()


def outcome_of(pending: PendingOrder, answer: Answer) -> Outcome:
    """Return the outcome of an order that was answered."""
    if answer.error is not None:
        return refused(pending, answer.error)
    run = None
    if pending.call == "trigger":
        run = msgspec.json.decode(answer.result, type=_Triggered).execution.id
    elif pending.call == "cancel":
        run = msgspec.json.decode(answer.result, type=_Run).id
    return Outcome(pending, "done", run)


def refused(pending: PendingOrder, error: OrderError) -> Outcome:
    """Return the outcome of an order that was refused."""
    return Outcome(pending, "refused", error=error.kinds[0].rpartition(".")[2], problem=writable(error.message))
