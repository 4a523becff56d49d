"""Writes to a server that is up. What it rejects is kept aside, so that one document does not stop the others."""

from __future__ import annotations

from collections.abc import Iterable

from gnomon.logs import get_logger
from gnomon_mongo import schema
from gnomon_mongo.documents.rejected_documents import Rejected, RejectedDocuments
from gnomon_mongo.documents.write_batch import WriteBatch, decode_identity
from gnomon_mongo.errors import EventRejectedError
from gnomon_mongo.log import operations
from gnomon_mongo.log.event_append import check_event, has_event, placeholder
from gnomon_mongo.server import Server
from gnomon_shared_log.errors import LostEventsError
from gnomon_shared_log.ports.batch import EventIdentity
from gnomon_shared_log.ports.lease_row import Term
from gnomon_shared_log.ports.log_table import LogTable

log = get_logger("gnomon.mongo")


class MongoLogTable(LogTable[WriteBatch]):
    """Writes batches, and asks for the end of the log."""

    def __init__(self, server: Server, rejected: RejectedDocuments) -> None:
        self._server = server
        self._rejected = rejected
        self._size = operations.CallSize()

    async def write_events(self, batch: WriteBatch, term: Term, limit_s: float | None = None) -> None:
        """Write events. A placeholder takes the place of one that the server rejects: the log has no gaps."""
        withheld: dict[int, Rejected] = {}
        while True:
            try:
                await operations.write_events(self._server, batch, term, limit_s, self._size)
            except EventRejectedError as exc:
                number = next(i for i, event in enumerate(batch.events) if event["_id"] == exc.position)
                if number in withheld:  # the placeholder is rejected, too: everything waits for the event
                    batch.events[number] = withheld[number].document
                    await self._rejected.remove_newest()
                    raise EventRejectedError(
                        self._server.address, withheld[number].document, withheld[number].problem
                    ) from exc
                withheld[number] = Rejected(schema.EVENTS, batch.events[number], exc.problem)
                await self._rejected.add([withheld[number]])
                batch.events[number] = placeholder(batch.events[number], exc.problem)
            else:
                break
        self._report(withheld.values())

    async def write_rest(self, batch: WriteBatch, limit_s: float | None = None) -> None:
        """Write the documents other than events. Those that the server rejects are kept aside."""
        rejected = await operations.write_rest(self._server, batch, limit_s)
        if rejected:
            await self._rejected.add(rejected)
            self._report(rejected)

    async def read_head(self) -> int:
        return await operations.read_head(self._server)

    async def check_event(self, identity: EventIdentity) -> None:
        try:
            await check_event(self._server, decode_identity(identity))
        except LostEventsError as exc:
            is_deleted = max(exc.found, await self.read_head()) >= identity.position
            if not is_deleted or await has_event(self._server, identity.position):
                raise

    async def check_views(self) -> None:
        """Compare nothing: the server does not have the position up to which views are filed."""

    def _report(self, rejected: Iterable[Rejected]) -> None:
        for one in rejected:
            log.error("MongoDB rejects a document, it is kept aside", document=one.name, problem=one.problem)
