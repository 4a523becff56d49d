"""The documents of an append, and of a part of a log that was exported from another store."""

from __future__ import annotations

from collections.abc import Sequence

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon_mongo.documents.conversion import action_documents, event_document, execution_document, job_document
from gnomon_mongo.documents.write_batch import WriteBatch
from gnomon_mongo.log import operations
from gnomon_mongo.server import Server
from gnomon_shared_log.writing.spooling_writer import SpoolingWriter


def batch_of(
    events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState], head: int
) -> WriteBatch:
    """Encode events and their views; `head` is the position up to which the states of jobs are folded."""
    first = events[0].position if events else 0
    return WriteBatch(
        events=[event_document(event, first) for event in events],
        executions=[execution_document(view) for view in executions],
        jobs=[job_document(state, head) for state in jobs],
        actions=action_documents(events),
    )


async def restore(
    server: Server, writer: SpoolingWriter[WriteBatch], batch: WriteBatch, events: Sequence[Event], head: int
) -> None:
    """Write a part of a log that was exported from another store, and end the log at `head`."""
    if events:
        await writer.restore(batch, events)
    else:
        await writer.keep(batch)
    await operations.keep_head(server, head)
    writer.head = max(writer.head, head)
    await writer.flush()
