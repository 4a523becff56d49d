"""The orders of a log in PostgreSQL: those whose senders wait, and those of applications' transactions."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from gnomon_postgres.orders.transactional_receiver import TransactionalReceiver
from gnomon_postgres.server_log import PostgresLog
from gnomon_postgres.write_batch import WriteBatch
from gnomon_shared_log.change_feed import ChangeFeed
from gnomon_shared_log.lease.lease import Lease
from gnomon_shared_log.orders.order_channel import ServerOrderChannel
from gnomon_shared_log.orders.order_receiver import Handler
from gnomon_shared_log.ports.lease_row import Term


class PostgresOrderChannel(ServerOrderChannel[WriteBatch]):
    """The channel of one store."""

    def __init__(self, log: PostgresLog, lease: Lease, check: Callable[[], None]) -> None:
        super().__init__(log, lease, check)
        self._log = log

    def _further_work(self, feed: ChangeFeed, handler: Handler) -> Iterable[Coroutine[Any, Any, None]]:
        def term() -> Term | None:
            return self._lease.term() if self._lease.is_trusted else None

        return (TransactionalReceiver(self._log.server, term, handler).run(feed),)
