"""Kernels that carry out orders which were placed in transactions of PostgreSQL, one step at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg

import gnomon_postgres
from gnomon_postgres import OrderOutcome, PlacedOrder
from gnomon_postgres.orders.call_lists import Handler
from gnomon_postgres.orders.transactional_receiver import TransactionalReceiver
from gnomon_postgres.server import Server
from gnomon_shared_log.ports.lease_row import Term

Connection = psycopg.AsyncConnection[Any]
TERM = Term("this kernel", 7)


class Gate:
    """A body that waits until it may end."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self) -> None:
        await self.open.wait()


async def greet(name: str = "nobody") -> str:
    """Return a greeting."""
    return f"hello {name}"


async def lead(server: Server, term: Term) -> None:
    """Write the term of the kernel that leads."""
    async with server.writing() as connection:
        await connection.execute("UPDATE {schema}.lease SET owner = %s, epoch = %s", (term.owner, term.epoch))


def receiver_of(server: Server, handler: Handler, term: Term = TERM) -> TransactionalReceiver:
    """Return the receiver of a kernel in this term."""
    return TransactionalReceiver(server, lambda: term, handler)


async def carry_out_some(receiver: TransactionalReceiver) -> int:
    """Carry out the orders that come next, as `run` does, and return how many were answered."""
    term, outcomes = await receiver._carry_out_next([])
    if term is None or not outcomes:
        return 0
    return len(outcomes) if await receiver._write(outcomes, term) else 0


async def outcome_of(application: Connection, order: PlacedOrder | str) -> OrderOutcome:
    """Return the outcome of an order that is committed, as an application finds it."""
    outcome = await gnomon_postgres.order_outcome(application, order if isinstance(order, str) else order.id)
    await application.rollback()
    assert outcome is not None
    return outcome
