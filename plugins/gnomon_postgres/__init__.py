"""The PostgreSQL store: the log in a schema of a database, and a spool on disk for outages.

Requires the extra `postgres`. The functions for orders in the transactions of applications need nothing but the
application's own driver.
"""

from typing import TYPE_CHECKING, Any

from gnomon_postgres.placed_orders import OrderOutcome, PlacedOrder
from gnomon_postgres.transactional_orders import (
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

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    """Import the plugin and the store when they are used: they need psycopg, which an application may not have."""
    if name == "PostgresPlugin":
        from gnomon_postgres.plugin import PostgresPlugin

        return PostgresPlugin
    if name == "PostgresStore":
        from gnomon_postgres.store import PostgresStore

        return PostgresStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
