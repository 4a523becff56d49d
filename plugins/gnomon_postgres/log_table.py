"""The log and what is kept beside it, as the shared part of a store writes and reads them."""

from __future__ import annotations

from collections.abc import Iterable

from gnomon_postgres.log import event_reads, kept_records
from gnomon_postgres.log.event_append import EventAppend
from gnomon_postgres.log.lease_table import PostgresLeaseTable
from gnomon_postgres.log.notices import AppendNotices
from gnomon_postgres.schema.partitions import Partitions
from gnomon_postgres.server import LIST_LIMIT_S, Server
from gnomon_postgres.views import projection
from gnomon_postgres.write_batch import WriteBatch, identity_of
from gnomon_shared_log.errors import LostEventsError
from gnomon_shared_log.ports.batch import EventIdentity
from gnomon_shared_log.ports.lease_row import Term
from gnomon_shared_log.ports.log_table import LogEnd, LogTable


class PostgresLogTable(LogTable[WriteBatch]):
    """Writes and reads the log on one server; its partitions are made ahead of the events."""

    def __init__(self, server: Server, lease: PostgresLeaseTable, partitions: Partitions) -> None:
        self.partitions = partitions
        self._server = server
        self.notices = AppendNotices(server)
        self._append = EventAppend(server, lease)

    async def write_events(self, batch: WriteBatch, term: Term, limit_s: float | None = None) -> None:
        """Append the events of a batch in this term."""
        await self._append.append(batch.events, term, limit_s, has_gaps=batch.has_gaps)
        self.notices.note(batch.last)

    async def write_rest(self, batch: WriteBatch, limit_s: float | None = None) -> None:
        """File views, and save checkpoints and log lines, in one transaction."""
        async with self._server.writing(limit_s) as connection, connection.transaction():
            if batch.views.last or batch.views.jobs:
                await projection.file_group(connection, batch.views, self.partitions)
            await kept_records.put_checkpoints(connection, batch.checkpoints)
            for execution_id, lines in batch.lines.items():
                await kept_records.put_lines(connection, execution_id, lines)
            for execution_id, oldest in batch.oldest_lines.items():
                await kept_records.drop_lines(connection, execution_id, oldest)
        over = (view.id for view in batch.views.executions.values() if view.is_over)
        self._append.note_filed(batch.views.last, over)
        if batch.views.last:
            await self.partitions.keep_ahead(self._server, batch.views.last)

    async def end_at(self, position: int, term: Term) -> None:
        """Leave out the positions up to this one, which are never assigned then."""
        await self._append.end_at(position, term)

    def forget(self, streams: Iterable[str] | None) -> None:
        """Forget the ends of streams that were deleted; None: any of them."""
        self._append.forget(streams)

    async def read_end(self) -> LogEnd:
        """Return where the log ends: what the next append follows."""
        async with self._server.reading(LIST_LIMIT_S) as connection:
            row = await self._append.load(connection)
            newest = await event_reads.event_at(connection, row.last) if row.last else None
        return LogEnd(row.last, identity_of(newest) if newest is not None else None)

    async def read_head(self) -> int:
        """Return the highest position ever assigned."""
        async with self._server.reading() as connection:
            return await event_reads.head(connection)

    async def check_event(self, identity: EventIdentity) -> None:
        """Raise LostEventsError if the log has lost this event, or has another one in its place."""
        async with self._server.reading() as connection:
            found = await event_reads.event_at(connection, identity.position)
            head = await event_reads.head(connection)
        if head < identity.position or (found is not None and identity_of(found) != identity):
            raise LostEventsError(self._server.address, identity.position, head)

    async def check_views(self) -> None:
        """Raise LostEventsError where the log ends before events whose views are filed."""
        async with self._server.reading() as connection:
            filed, head = await event_reads.filed(connection), await event_reads.head(connection)
        if filed > head:
            raise LostEventsError(self._server.address, filed, head)
