"""The PostgreSQL store: the log in a schema of a database, and a spool on disk for outages.

Requires the extra `postgres`. The functions for orders in the transactions of applications need nothing but the
application's own driver.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnomon_postgres.orders.placed_orders import OrderOutcome, PlacedOrder
    from gnomon_postgres.orders.transactional_orders import (
        add_job,
        add_job_sync,
        cancel,
        cancel_sync,
        order_outcome,
        order_outcome_sync,
        remove_job,
        remove_job_sync,
        trigger,
        trigger_many,
        trigger_many_sync,
        trigger_sync,
    )
    from gnomon_postgres.plugin import PostgresPlugin
    from gnomon_postgres.store import PostgresStore

__all__ = [
    "OrderOutcome",
    "PlacedOrder",
    "PostgresPlugin",
    "PostgresStore",
    "add_job",
    "add_job_sync",
    "cancel",
    "cancel_sync",
    "order_outcome",
    "order_outcome_sync",
    "remove_job",
    "remove_job_sync",
    "trigger",
    "trigger_many",
    "trigger_many_sync",
    "trigger_sync",
]

_HOMES = {
    "OrderOutcome": "orders.placed_orders",
    "PlacedOrder": "orders.placed_orders",
    "PostgresPlugin": "plugin",
    "PostgresStore": "store",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: `gnomon --help` imports the command, and an application may not have psycopg.
    if name not in __all__:
        raise AttributeError(f"module 'gnomon_postgres' has no attribute {name!r}")
    return getattr(importlib.import_module(f"gnomon_postgres.{_HOMES.get(name, 'orders.transactional_orders')}"), name)
