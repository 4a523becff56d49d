"""The PostgreSQL store: the log in a schema of a database, and a spool on disk for outages.

Requires the extra `postgres`. The functions for orders in the transactions of applications need nothing but the
application's own driver.
"""

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

__all__ = [
    "OrderOutcome",
    "PlacedOrder",
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
