"""The table `orders`: the orders of other processes, whose senders wait, and the processes that follow."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

import msgspec
import psycopg

from gnomon.domain.kernel_member import KernelMember
from gnomon.domain.orders import Order
from gnomon.errors import StoreError
from gnomon_postgres.server import Server
from gnomon_shared_log.ports.order_table import ClaimedOrder, OrderState, OrderTable

MOST_BYTES = 256 * 1024 * 1024
"""Of an order or an answer: the server accepts values of 1 GiB, in messages of 1 GiB."""
KEPT = timedelta(hours=1)
"""Time for which a row stays after the last sign of its sender."""
CLEAN_S = 300.0
"""Seconds between two deletions of older rows."""
_members = msgspec.json.Decoder(KernelMember)
_WITHDRAW = "UPDATE {schema}.orders SET is_waiting = false, is_withdrawn = true WHERE id = %s AND "
_ABANDON = "UPDATE {schema}.orders SET is_abandoned = true WHERE "
_OPEN = "answer IS NULL AND NOT is_abandoned AND NOT is_withdrawn AND NOT is_expired"


class PostgresOrderTable(OrderTable):
    """The orders of one log: see OrderTable of gnomon_shared_log for each method. Each is one statement."""

    most_bytes = MOST_BYTES

    def __init__(self, server: Server) -> None:
        self._server = server
        self._cleaned_at = float("-inf")

    async def place(self, order: Order, limit_s: float) -> None:
        """Insert an order that waits, unless it is there."""
        body = bytes(order.arguments)
        await self._write(
            "INSERT INTO {schema}.orders (id, call, arguments, waits, limit_s) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT (id) DO NOTHING",
            (order.id, order.call, body, order.waits, limit_s),
        )

    def was_not_sent(self, exc: StoreError) -> bool:
        """Return whether nothing has reached the server, because no connection to it could be made."""
        cause = exc.__cause__
        if not isinstance(cause, psycopg.OperationalError):
            return False
        return cause.pgconn is None or cause.pgconn.backend_pid == 0  # which a session has from its beginning

    async def look(self, ids: Collection[str]) -> dict[str, OrderState]:
        """Return the states of these orders."""
        statement = (
            "SELECT id, owner, answer, is_abandoned, is_withdrawn, is_expired, waits, kept FROM {schema}.orders "
            "WHERE id = ANY(%s)"
        )
        async with self._server.reading() as connection:
            return {row[0]: OrderState(*row) for row in await connection.fetch(statement, (list(ids),))}

    async def withdraw(self, order_id: str, *, only_waiting: bool) -> bool:
        """Withdraw an order, unless it has ended."""
        return await self._write(_WITHDRAW + ("is_waiting" if only_waiting else _OPEN), (order_id,)) > 0

    async def keep(self, order_id: str) -> None:
        """Show that the sender of an order is still there."""
        await self._write("UPDATE {schema}.orders SET kept = clock_timestamp() WHERE id = %s", (order_id,))

    async def waiting(self, most: int) -> list[str]:
        """Return the ids of orders that wait, and delete old rows now and then."""
        if time.monotonic() > self._cleaned_at + CLEAN_S:
            await self._write("DELETE FROM {schema}.orders WHERE kept < clock_timestamp() - %s", (KEPT,))
            self._cleaned_at = time.monotonic()
        statement = "SELECT id FROM {schema}.orders WHERE is_waiting ORDER BY number LIMIT %s"
        async with self._server.reading() as connection:
            return [row[0] for row in await connection.fetch(statement, (most,))]

    async def claim(self, ids: Collection[str], owner: str, mark: str) -> list[ClaimedOrder]:
        """Claim those of these orders that still wait."""
        update = (
            "UPDATE {schema}.orders SET is_waiting = false, owner = %s, mark = %s, claimed = clock_timestamp() "
            "WHERE is_waiting AND id = ANY(%s)"
        )
        select = (
            "SELECT id, call, arguments, waits, claimed > placed + limit_s * interval '1 second' FROM {schema}.orders "
            "WHERE id = ANY(%s) AND mark = %s ORDER BY number"
        )
        async with self._server.writing() as connection:
            await connection.execute(update, (owner, mark, list(ids)))
            rows = await connection.fetch(select, (list(ids), mark))
        return [
            ClaimedOrder(Order(call, msgspec.Raw(arguments), order_id, waits), is_late)
            for order_id, call, arguments, waits, is_late in rows
        ]

    async def write_answers(self, answers: Mapping[str, bytes], owner: str) -> None:
        """Answer orders of this owner, also those that count as abandoned by now."""
        await self._write(
            "UPDATE {schema}.orders AS o SET answer = given.answer, kept = clock_timestamp() "
            "FROM unnest(%s::text[], %b::bytea[]) AS given(id, answer) WHERE o.id = given.id AND o.owner = %s",
            (list(answers), list(answers.values()), owner),
        )

    async def expire(self, ids: Collection[str]) -> None:
        """Record that the limits of orders were over."""
        await self._write("UPDATE {schema}.orders SET is_expired = true WHERE id = ANY(%s)", (list(ids),))

    async def abandon(self, owner: str, *, of_others: bool) -> None:
        """Record of claimed orders that they get no answer."""
        await self._write(_ABANDON + ("owner <> %s AND " if of_others else "owner = %s AND ") + _OPEN, (owner,))

    async def announce(self, member: KernelMember) -> None:
        """Write the row of a process."""
        await self._write(
            "INSERT INTO {schema}.followers (id, body) VALUES (%s, %s) "
            "ON CONFLICT (id) DO UPDATE SET body = excluded.body, seen = clock_timestamp()",
            (member.id, msgspec.json.encode(member)),
        )

    async def retract(self, member_id: str) -> None:
        """Delete the row of a process, and rows that processes have left long ago."""
        statement = "DELETE FROM {schema}.followers WHERE id = %s OR seen < clock_timestamp() - %s"
        await self._write(statement, (member_id, KEPT))

    async def announced(self, since_s: float) -> list[KernelMember]:
        """Return the processes whose rows are new."""
        statement = "SELECT body FROM {schema}.followers WHERE seen > clock_timestamp() - %s * interval '1 second'"
        async with self._server.reading() as connection:
            return [_members.decode(body) for (body,) in await connection.fetch(statement, (since_s,))]

    async def _write(self, statement: str, parameters: tuple[Any, ...]) -> int:
        async with self._server.writing() as connection:
            return await connection.execute(statement, parameters)
