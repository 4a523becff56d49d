"""Orders of runs over HTTP: repeated while a queue is full, in parts where a list does not fit."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from gnomon.api import Triggered
from gnomon.backoff import Backoff
from gnomon.client.session import Session
from gnomon.domain.execution import Execution
from gnomon.domain.parameter_checks import expect_each
from gnomon.domain.run_order import RunOrder, WhenFull
from gnomon.errors import QueueFullError
from gnomon.wire.records import AcceptedOrders, TriggeredRecord

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
"""Time between two tries while a queue is full."""
WAITS_AT_ONCE = 8
"""WebSockets with which the ends of many runs are awaited."""


class Waits(Protocol):
    """Waits for the end of one run."""

    async def wait(self, execution_id: str) -> Execution:
        """Return the run when it has ended."""


async def send_order(session: Session, order: RunOrder, when_full: WhenFull) -> Triggered:
    """Order one run; with "wait" again and again while the queue is full."""
    headers = {"Idempotency-Key": order.idempotency_key or secrets.token_hex(16)}
    body = _body(order) | {"when_full": _at_server(when_full)}
    backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
    while True:
        try:
            record = await session.request(
                "POST", "/scheduler/trigger", TriggeredRecord, subject=order.job_id, body=body, headers=headers
            )
        except QueueFullError:
            if when_full != "wait":
                raise
            await asyncio.sleep(backoff.next())
            continue
        return _triggered(record)


async def send_orders(session: Session, orders: Sequence[RunOrder], when_full: WhenFull) -> list[Triggered]:
    """Order many runs; with "wait" in parts that fit, in order."""
    expect_each(orders, RunOrder, "orders")
    keyed = [
        order
        if order.idempotency_key is not None
        else msgspec.structs.replace(order, idempotency_key=secrets.token_hex(16))
        for order in orders
    ]
    return await _send(session, keyed, when_full) if keyed else []


async def _send(session: Session, orders: list[RunOrder], when_full: WhenFull) -> list[Triggered]:
    backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
    listed = [_body(order) | {"idempotency_key": order.idempotency_key} for order in orders]
    while True:
        try:
            accepted = await session.request(
                "POST",
                "/scheduler/executions",
                AcceptedOrders,
                subject=orders[0].job_id,
                body={"orders": listed, "when_full": _at_server(when_full)},
            )
        except QueueFullError:
            if when_full != "wait":
                raise
            if (half := len(orders) // 2) > 0:
                return [
                    *await _send(session, orders[:half], when_full),
                    *await _send(session, orders[half:], when_full),
                ]
            await asyncio.sleep(backoff.next())
            continue
        return [_triggered(record) for record in accepted.items]


async def ends_of(client: Waits, execution_ids: Iterable[str]) -> list[Execution]:
    """Wait for many runs, a few at a time; the first error ends all waits, and is raised as it is."""
    turns = asyncio.Semaphore(WAITS_AT_ONCE)

    async def end_of(execution_id: str) -> Execution:
        async with turns:
            return await client.wait(execution_id)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(end_of(one)) for one in execution_ids]
    except ExceptionGroup as exc:
        first = exc.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]


def _body(order: RunOrder) -> dict[str, Any]:
    body = {"job_id": order.job_id, "kwargs": dict(order.kwargs), "force": order.force, "resume": order.resume}
    # A server of an older version does not know labels.
    return body | ({"labels": dict(order.labels)} if order.labels else {})


def _at_server(when_full: WhenFull) -> str:
    return "miss" if when_full == "miss" else "raise"


def _triggered(record: TriggeredRecord) -> Triggered:
    is_new = not record.repeated and not record.joined
    return Triggered(record.execution(), record.resumed, is_new, record.joined)
