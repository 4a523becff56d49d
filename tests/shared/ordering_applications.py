"""Applications that order runs and jobs in their transactions, while the server is killed again and again."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import NamedTuple

import psycopg

from postgres_applications import APPLICATIONS, Abort, Begin


class Ordered(NamedTuple):
    """What committed transactions have ordered: the ids of runs, and those of jobs."""

    runs: set[str]
    jobs: set[str]


class OrderingApplications:
    """Transactions of applications. Each writes an invoice and its order, or neither of them.

    A share of them is rolled back, and `share_of_keys` of the orders of runs have a key in common with others.
    """

    def __init__(self, dsn: str, chance: random.Random, *, share_of_keys: float) -> None:
        self.dsn = dsn
        self.committed: set[int] = set()
        self.aborted: set[int] = set()
        self._chance = chance
        self._share_of_keys = share_of_keys
        self._numbers = iter(range(1_000_000_000))
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE invoices (number bigint PRIMARY KEY, order_id text, execution_id text)")

    async def work(self, driver: str, transactions: int) -> None:
        """Begin transactions with one driver until the server is gone."""
        with suppress(Exception):  # whatever the driver raises where the connection is lost
            async with APPLICATIONS[driver](self.dsn) as begin:
                for _ in range(transactions):
                    await self._transaction(begin, next(self._numbers))

    async def _transaction(self, begin: Begin, number: int) -> None:
        aborts = self._chance.random() < 0.3
        try:
            async with begin() as transaction:
                if self._chance.random() < 0.2:
                    order = await transaction.call("add_job", "json:dumps", id=f"job-{number}")
                else:
                    key = f"key {number // 3}" if self._chance.random() < self._share_of_keys else None
                    kwargs = {"number": number // 3} if key is not None else {"number": number}
                    order = await transaction.call("trigger", "send", kwargs=kwargs, key=key)
                insert = "INSERT INTO invoices VALUES ($1, CAST($2 AS text), CAST($3 AS text)) RETURNING number"
                await transaction.execute(insert, number, order.id, order.execution_id)
                if aborts:
                    raise Abort
        except Abort:
            self.aborted.add(number)
        else:
            self.committed.add(number)

    @property
    def answered(self) -> int:
        """How many orders have an answer."""
        count = "SELECT count(*) FROM gnomon.transactional_orders WHERE state <> 'pending'"
        with psycopg.connect(self.dsn) as connection:
            ((found,),) = connection.execute(count).fetchall()
        return int(found)

    @property
    def is_waiting(self) -> bool:
        """Whether an order has no answer yet."""
        with psycopg.connect(self.dsn) as connection:
            found = connection.execute("SELECT 1 FROM gnomon.transactional_orders WHERE state = 'pending' LIMIT 1")
            return found.fetchone() is not None

    def check_orders(self) -> Ordered:
        """Check that orders exist exactly if their transactions were committed, and that all of them are done."""
        with psycopg.connect(self.dsn) as connection:
            invoices = connection.execute("SELECT number, order_id, execution_id FROM invoices").fetchall()
            orders = connection.execute(
                "SELECT id, state, execution_id, problem FROM gnomon.transactional_orders"
            ).fetchall()
        numbers = {number for number, _, _ in invoices}
        assert self.committed <= numbers
        assert not self.aborted & numbers
        assert {order for _, order, _ in invoices} == {order for order, _, _, _ in orders}
        assert [order for order in orders if order[1] != "done"] == []
        assert {(order, run) for _, order, run in invoices} == {(order, run) for order, _, run, _ in orders}
        return Ordered(
            {run for _, _, run in invoices if run is not None},
            {f"job-{number}" for number, _, run in invoices if run is None},
        )
