"""One connection to the log on a server, with everything that the shared part of a store asks of it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol, Self

from gnomon_shared_log.ports.batch import B, BatchCodec
from gnomon_shared_log.ports.changes import ChangeSource
from gnomon_shared_log.ports.late_end_table import LateEndTable
from gnomon_shared_log.ports.lease_row import LeaseTable
from gnomon_shared_log.ports.log_table import LogTable
from gnomon_shared_log.ports.order_table import OrderTable


class ServerLog(Protocol[B]):
    """The tables of one log. `product` names the server, such as `MongoDB`, and `name` the log, for messages."""

    product: str

    @property
    def codec(self) -> BatchCodec[B]:
        """Encodes batches for the spool."""

    @property
    def name(self) -> str:
        """The log for messages, such as `MongoDB log 127.0.0.1:27017/gnomon`."""

    @property
    def lease(self) -> LeaseTable:
        """The row of the leader."""

    @property
    def events(self) -> LogTable[B]:
        """The log itself."""

    @property
    def late_ends(self) -> LateEndTable:
        """Ends of runs for the kernel that leads."""

    @property
    def orders(self) -> OrderTable:
        """Orders for it."""

    @property
    def source(self) -> ChangeSource:
        """What the server reports of the log."""

    async def connect(self) -> None:
        """Connect, or prepare to: a server that is away may be noticed by the first call. StoreError if it cannot."""

    async def close(self) -> None:
        """Close the connection, also one that was not made, or was lost."""

    def borrowed(self) -> AbstractAsyncContextManager[Self]:
        """Yield this log while it is connected, otherwise another connection to it, which is closed afterwards."""
