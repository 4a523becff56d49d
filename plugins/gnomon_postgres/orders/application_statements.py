"""The statements that an application's session executes: orders are inserted, and their outcomes are read.

The settings of the session are the application's. So that they mean the same under any of them, statements name what is
PostgreSQL's with `pg_catalog`, which may come late in a `search_path`, pass no array with NULL (`array_nulls`), have no
backslash in a literal (`standard_conforming_strings`), and return times as texts in UTC (`DateStyle`, `TimeZone`). An
`unnest` of several arrays is PostgreSQL's in any case, and has no other name.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from gnomon.text import is_writable
from gnomon_postgres.orders.application_connections import Row, Statement
from gnomon_postgres.orders.placed_orders import NewOrder, OrderOutcome, PlacedOrder

# `clock_timestamp` in place of `now`, which is the beginning of the transaction. The role needs no right to read.
_EXPIRES: Final = """pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+)
            pg_catalog.make_interval(secs => CAST({} AS pg_catalog.float8))"""
_PLACE_ONE: Final = f"""
    WITH placed AS (
        INSERT INTO {{schema}}.transactional_orders (id, call, job_id, arguments, expires) VALUES (
            CAST($1 AS pg_catalog.text), CAST($2 AS pg_catalog.text), CAST($3 AS pg_catalog.text),
            CAST(CAST($4 AS pg_catalog.text) AS pg_catalog.json), {_EXPIRES.format("$5")}
        )
    )
    SELECT CAST(session_user AS pg_catalog.text)"""  # noqa: S608 - our own text
_PLACE_MANY: Final = f"""
    WITH placed AS (
        INSERT INTO {{schema}}.transactional_orders (id, call, job_id, arguments, expires)
        SELECT id, call, job_id, CAST(arguments AS pg_catalog.json), {_EXPIRES.format("$1")}
        FROM unnest(
            CAST($2 AS pg_catalog.text[]), CAST($3 AS pg_catalog.text[]), CAST($4 AS pg_catalog.text[]),
            CAST($5 AS pg_catalog.text[])
        ) WITH ORDINALITY AS given (id, call, job_id, arguments, n)
        ORDER BY n
    )
    SELECT CAST(session_user AS pg_catalog.text)"""  # noqa: S608 - our own text
_IN_UTC: Final = """pg_catalog.to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
_OUTCOME: Final = f"""
    SELECT id, state, execution_id, error, problem, {_IN_UTC.format("placed")}, placed_by, {_IN_UTC.format("answered")}
    FROM {{schema}}.transactional_orders WHERE id OPERATOR(pg_catalog.=) CAST($1 AS pg_catalog.text)"""  # noqa: S608


def insertion(orders: Sequence[NewOrder], schema: str) -> Statement:
    """Return the statement that inserts orders, of which there is at least one; they have the same time to expire."""
    if len(orders) == 1:
        return Statement(_PLACE_ONE, orders[0].row, schema)
    *columns, limits = ([*column] for column in zip(*(one.row for one in orders), strict=True))
    return Statement(_PLACE_MANY, [limits[0], *columns], schema)


def orders_placed(orders: Sequence[NewOrder], row: Row | None) -> list[PlacedOrder]:
    """Return the orders that were inserted; `row` is what their statement has returned."""
    assert row is not None  # noqa: S101 - a SELECT without FROM returns one row
    return [one.placed(row[0]) for one in orders]


def search(order_id: str, schema: str) -> Statement:
    """Return the statement that finds the outcome of an order."""
    # An id that the server cannot hold is not that of an order; most drivers would end the transaction with an error.
    return Statement(_OUTCOME, [order_id if is_writable(order_id) and "\0" not in order_id else ""], schema)


def outcome_of(row: Row | None) -> OrderOutcome | None:
    """Return the outcome that it has found."""
    if row is None:
        return None
    order_id, state, execution_id, error, problem, placed, placed_by, answered = row
    until = None if answered is None else datetime.fromisoformat(answered)
    return OrderOutcome(order_id, state, execution_id, error, problem, datetime.fromisoformat(placed), placed_by, until)
