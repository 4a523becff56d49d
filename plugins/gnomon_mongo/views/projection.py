"""Folds views from events: repairs what a crash left incomplete, and rebuilds everything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Sequence

from bson import ObjectId

from gnomon.domain import execution, job_state
from gnomon.domain.events import (
    JOB_STREAM,
    KERNEL_STREAM,
    Event,
    ExecutionEvent,
    JobEvent,
    UnknownEvent,
    job_stream,
)
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.errors import TransitionError
from gnomon.tasks import at_once
from gnomon_mongo import schema
from gnomon_mongo.documents.conversion import action_documents, execution_document, execution_key, job_document, job_of
from gnomon_mongo.documents.foreign_documents import own
from gnomon_mongo.documents.write_batch import WriteBatch
from gnomon_mongo.drivers import Document
from gnomon_mongo.lists import queries
from gnomon_mongo.log import operations
from gnomon_mongo.log.event_append import WITHHELD
from gnomon_mongo.log.operations import StoredEnd
from gnomon_mongo.server import LIST_LIMIT_S, WORK_LIMIT_S, Server
from gnomon_shared_log.errors import Refusal

PAGE = 1_000
"""Events that are folded at a time."""


async def repair(server: Server, end: StoredEnd) -> int:
    """Bring the views up to this end of the log; return how many events were folded.

    Every append writes its views before the next one starts, so only the views of the last one can be missing. A
    rebuild that was interrupted is started again.
    """
    if end.log.get("rebuilding"):
        return await rebuild(server)
    return await _project(server, end.newest["batch"] - 1) if end.newest is not None else 0


async def rebuild(server: Server) -> int:
    """Delete the views of executions, jobs and actions and fold them again; return the number of events.

    Pruned events cannot be folded: an execution whose progress was pruned has none afterwards.
    """
    await _mark(server, rebuilding=True)
    async with server.writing(WORK_LIMIT_S):
        for name in (schema.EXECUTIONS, schema.METADATA, schema.HISTORY):
            await server[name].delete_many(own(name))
    folded = await _project(server, 0)
    await _mark(server, rebuilding=False)
    return folded


async def rename_pause_reasons(server: Server) -> int:
    """Rewrite the views of jobs that call the reason of a pause `paused_why`; return how many."""
    async with server.reading(LIST_LIMIT_S):
        documents = (
            await server[schema.METADATA].find({"paused_why": {"$exists": True}, **own(schema.METADATA)}).to_list(None)
        )
    async with server.writing(WORK_LIMIT_S):
        for old in documents:
            new = job_document(job_of(old), old["position"])
            await server[schema.METADATA].replace_one({"_id": old["_id"], "position": old["position"]}, new)
    return len(documents)


async def _mark(server: Server, *, rebuilding: bool) -> None:
    async with server.writing():
        await server[schema.KERNEL].update_one({"_id": "log"}, {"$set": {"rebuilding": rebuilding}})


async def confirmed_differences(server: Server) -> list[str]:
    """Return the executions of `differences`, without those whose view a kernel was writing at that moment."""
    found = [execution_id async for execution_id in differences(server)]
    return [execution_id for execution_id in found if not await matches_events(server, execution_id)]


async def differences(server: Server) -> AsyncIterator[str]:
    """Yield the executions whose view differs from their events, except those whose progress was pruned."""
    after = 0
    while events := await queries.read(server, after, PAGE):
        for stream in _streams(event for event in events if event.version == 1):
            if not await matches_events(server, stream):
                yield stream
        after = events[-1].position


async def without_events(server: Server) -> AsyncIterator[str]:
    """Yield the executions of which the log has no event, so that nothing proves their view."""
    after: Document = {}
    while ids := await _own_ids(server, after):
        streams = {str(identity) for identity in ids}
        async with server.reading(LIST_LIMIT_S):
            found = await server[schema.EVENTS].distinct("stream", {"stream": {"$in": sorted(streams)}})
        for stream in sorted(streams - set(found)):
            yield stream
        after = {"_id": {"$gt": ids[-1]}}


async def _own_ids(server: Server, after: Document) -> list[ObjectId | str]:
    """Read a page of the ids of executions."""
    where = {"$and": [own(schema.EXECUTIONS), after]} if after else own(schema.EXECUTIONS)
    async with server.reading(LIST_LIMIT_S):
        found = await server[schema.EXECUTIONS].find(where, {"_id": 1}).sort("_id", 1).limit(PAGE).to_list(None)
    return [document["_id"] for document in found]


async def matches_events(server: Server, stream: str) -> bool:
    """Whether the view of an execution equals the fold of its events."""
    history = await queries.stream(server, stream)
    if not history or not isinstance(history[0], ExecutionEvent):
        return True  # just pruned, or the stream of a job, of a kernel, or of a kind that a later version adds
    if any(isinstance(event, UnknownEvent) and event.raw.get("type") == WITHHELD for event in history):
        return True  # the view was folded with the event that is kept aside
    if [event.version for event in history] != list(range(1, len(history) + 1)):
        return True
    return await queries.execution(server, stream) == execution.fold(history)


async def are_filed(server: Server, events: Sequence[Event]) -> bool:
    """Return whether the views of these events are filed, or newer ones."""
    runs = {event.stream: event.version for event in events if isinstance(event, ExecutionEvent)}
    jobs = {event.job_id: event.position for event in events if _concerns_job(event) and event.job_id}
    keys = [execution_key(stream) for stream in runs]
    acts = [document["_id"] for document in action_documents(events)]
    async with server.reading(LIST_LIMIT_S):
        found_runs = await server[schema.EXECUTIONS].find({"_id": {"$in": keys}}, {"version": 1}).to_list(None)
        found_jobs = await server[schema.METADATA].find({"_id": {"$in": [*jobs]}}, {"position": 1}).to_list(None)
        found_acts = await server[schema.HISTORY].find({"_id": {"$in": acts}}, {"_id": 1}).to_list(None)
    versions = {str(document["_id"]): document.get("version", 0) for document in found_runs}
    positions = {document["_id"]: document.get("position", 0) for document in found_jobs}
    return (
        len(found_acts) == len(acts)
        and all(versions.get(stream, 0) >= version for stream, version in runs.items())
        and all(positions.get(job_id, 0) >= position for job_id, position in jobs.items())
    )


async def jobs_after(
    server: Server, job_ids: Collection[str] | None, events: Sequence[Event], *, removed: bool
) -> list[JobState]:
    """Read the states of all jobs or of some, and fold these newer events into them."""
    known = {
        document["_id"]: (job_of(document), document["position"])
        for document in await queries.job_documents(server, job_ids)
    }
    for event in events:
        if _concerns_job(event) and (job_ids is None or event.job_id in job_ids):
            _fold_job(known, event)
    return [known[job_id][0] for job_id in sorted(known) if removed or not known[job_id][0].removed]


async def execution_after(server: Server, execution_id: str) -> Execution | None:
    """Read one execution, and fold the events into it that its view does not have yet."""
    view = await queries.execution(server, execution_id)
    newer = await queries.stream(server, execution_id, view.version if view is not None else 0)
    return (_fold(view, newer) or await queries.execution(server, execution_id)) if newer else view


async def _project(server: Server, after: int) -> int:
    folded, is_last = 0, False
    while not is_last and (events := await queries.read(server, after, PAGE)):
        is_last = len(events) < PAGE  # a take-over waits for each request
        views, jobs = await at_once(_views(server, events), _jobs(server, events))
        batch = WriteBatch(
            executions=[execution_document(view) for view in views], jobs=jobs, actions=action_documents(events)
        )
        rejected = await operations.write_rest(server, batch)
        if rejected:
            raise Refusal(f"MongoDB log {server.address} rejects {rejected[0].name}: {rejected[0].problem}")
        folded += len(events)
        after = events[-1].position
    return folded


def _streams(events: Iterable[Event]) -> list[str]:
    # An unknown event, or a placeholder, may be one of a job or a kernel.
    streams = (event.stream for event in events if isinstance(event, ExecutionEvent | UnknownEvent))
    return list(dict.fromkeys(stream for stream in streams if not stream.startswith((JOB_STREAM, KERNEL_STREAM))))


async def _views(server: Server, events: Sequence[Event]) -> list[Execution]:
    """Fold new events into the views of their streams, which are read at once: a take-over waits for this."""
    wanted, own_events = set(_streams(events)), defaultdict[str, list[Event]](list)
    for event in events:
        if event.stream in wanted:
            own_events[event.stream].append(event)
    known = await queries.executions_by_id(server, own_events)
    folded = []
    for stream, own_ones in own_events.items():
        view = known.get(stream)
        if view is None and own_ones[0].version != 1:
            history: Sequence[Event] = await queries.stream(server, stream)
        else:
            history = [event for event in own_ones if view is None or event.version > view.version]
        if (found := _fold(view, history)) is not None:
            folded.append(found)
    return folded


def _fold(view: Execution | None, history: Sequence[Event]) -> Execution | None:
    if not history:
        return None
    if view is None:
        if history[0].version != 1 or isinstance(history[0], UnknownEvent):
            return None  # half pruned, or a kind of stream of a later version
        view, history = execution.begin(history[0]), history[1:]
    for event in history:
        view.version = event.version - 1  # progress in between may have been pruned
        try:
            view.apply(event)
        except TransitionError:
            return None
    return view


async def _jobs(server: Server, events: Sequence[Event]) -> list[dict[str, object]]:
    async with server.reading(LIST_LIMIT_S):
        ids = sorted({event.job_id for event in events})
        documents = await server[schema.METADATA].find({"_id": {"$in": ids}, **own(schema.METADATA)}).to_list(None)
    known: dict[str, tuple[JobState, int]] = {one["_id"]: (job_of(one), one["position"]) for one in documents}
    changed: set[str] = set()
    for event in events:
        if _concerns_job(event) and _fold_job(known, event):
            changed.add(event.job_id)
    return [job_document(*known[job_id]) for job_id in sorted(changed)]


def _concerns_job(event: Event) -> bool:
    return isinstance(event, JobEvent) or event.stream == job_stream(event.job_id) or event.version == 1


def _fold_job(known: dict[str, tuple[JobState, int]], event: Event) -> bool:
    state, position = known.get(event.job_id, (None, 0))
    if event.position <= position:
        return False
    if state is not None:
        state.apply(event)
    elif isinstance(event, JobEvent):
        state = job_state.begin(event)
    else:
        return False
    known[event.job_id] = (state, event.position)
    return True
