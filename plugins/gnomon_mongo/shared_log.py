"""The part of the MongoDB store that a process uses beside the kernel that leads: to wait for it, and to replace it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from gnomon.domain.records import LogHolder
from gnomon.ports import OrderChannel, Store
from gnomon_mongo import kept_ends
from gnomon_mongo.lease_table import MongoLeaseTable
from gnomon_mongo.log_watch import LogWatch
from gnomon_mongo.order_channel import MongoOrderChannel
from gnomon_mongo.server import Server
from gnomon_shared_log import takeover
from gnomon_shared_log.fork_guard import ForkGuard
from gnomon_shared_log.lease import Lease
from gnomon_shared_log.store_tasks import start_task


class SharedLog(Store):
    """Uses the connection of the store while it is open, and one of its own otherwise."""

    _server: Server
    _lease: Lease
    _spool_path: Path
    _fork: ForkGuard
    _watch: LogWatch

    def orders(self) -> OrderChannel:
        return MongoOrderChannel(self._server, self._lease, lambda: self._fork.check(self._server.log_name))

    async def wait_until_free(self) -> None:
        async with self._server.borrowed() as server:
            await kept_ends.hand_over_left(server, self._spool_path)
            await self._lease.watch.wait_until_free(MongoLeaseTable(server))

    def expect_release(self) -> None:
        self._lease.watch.expect_release()

    def _start_watch(self, held: AsyncExitStack) -> None:
        """Start what `wait_for_events` uses, until the store is closed."""
        self._watch = LogWatch(self._server, self._lease.watch)
        start_task(self._watch.feed.run(), held)

    async def wait_for_events(self, after: int) -> None:
        self._fork.check(self._server.log_name)
        await self._watch.wait(after)

    async def holder(self) -> LogHolder | None:
        async with self._server.borrowed() as server:
            return await takeover.find_holder(MongoLeaseTable(server))

    async def take_over(self, holder: LogHolder) -> None:
        async with self._server.borrowed() as server:
            await takeover.end_term(MongoLeaseTable(server), holder)
