"""Views from events: what a crash between an append and its views left undone, and all of it anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from gnomon.domain import execution, job_state
from gnomon.domain.events import Event, JobEvent, UnknownEvent, job_stream
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.errors import TransitionError
from gnomon_mongo import operations, queries, schema
from gnomon_mongo.documents import action_documents, execution_document, job_document, job_of
from gnomon_mongo.server import LIST_PATIENCE, WORK_PATIENCE, Server
from gnomon_mongo.write_batch import WriteBatch

PAGE = 1_000
"""Events that are folded at a time."""


async def repair(server: Server) -> int:
    """Bring the views up to the end of the log; returns how many events they were behind, at most.

    Every append puts its views in place before the next one begins. So only those of the last one can be missing, but
    for a rebuild that was stopped between, which is begun again.
    """
    async with server.reading(LIST_PATIENCE):
        newest = await server[schema.EVENTS].find({}).sort("_id", -1).limit(1).to_list(None)
        log = await server[schema.KERNEL].find_one({"_id": "log"}) or {}
    if log.get("rebuilding"):
        return await rebuild(server)
    return await _project(server, newest[0]["batch"] - 1) if newest else 0


async def rebuild(server: Server) -> int:
    """Throw the views of executions, jobs and actions away and fold them anew; returns how many events that were.

    What was pruned is gone: an execution whose progress was forgotten has none afterwards.
    """
    await _mark(server, rebuilding=True)
    async with server.writing(WORK_PATIENCE):
        for name in (schema.EXECUTIONS, schema.METADATA, schema.HISTORY):
            await server[name].delete_many({})
    folded = await _project(server, 0)
    await _mark(server, rebuilding=False)
    return folded


async def _mark(server: Server, *, rebuilding: bool) -> None:
    async with server.writing():
        await server[schema.KERNEL].update_one({"_id": "log"}, {"$set": {"rebuilding": rebuilding}})


async def differences(server: Server) -> AsyncIterator[str]:
    """Tell the executions whose view is not what their events say; those whose progress was forgotten are left out."""
    after = 0
    while events := await queries.read(server, after, PAGE):
        for stream in _streams(event for event in events if event.version == 1):
            if not await is_as_told(server, stream):
                yield stream
        after = events[-1].position


async def is_as_told(server: Server, stream: str) -> bool:
    """Whether the view of an execution is what its events say."""
    history = await queries.stream(server, stream)
    if not history or isinstance(history[0], UnknownEvent):
        return True  # pruned just now, or a kind of stream that a later version has
    if [event.version for event in history] != list(range(1, len(history) + 1)):
        return True
    return await queries.execution(server, stream) == execution.fold(history)


async def _project(server: Server, after: int) -> int:
    folded = 0
    while events := await queries.read(server, after, PAGE):
        views = [view for view in [await _view(server, stream, events) for stream in _streams(events)] if view]
        jobs = await _jobs(server, events)
        batch = WriteBatch(
            executions=[execution_document(view) for view in views], jobs=jobs, actions=action_documents(events)
        )
        await operations.write(server, batch)
        folded += len(events)
        after = events[-1].position
    return folded


def _streams(events: Iterable[Event]) -> list[str]:
    return list(dict.fromkeys(event.stream for event in events if not isinstance(event, JobEvent)))


async def _view(server: Server, stream: str, events: Sequence[Event]) -> Execution | None:
    """Fold what is new of a stream into its view; None where there is nothing to be folded."""
    view = await queries.execution(server, stream)
    if view is None:
        history: Sequence[Event] = await queries.stream(server, stream)
    else:
        history = [event for event in events if event.stream == stream and event.version > view.version]
    return _fold(view, history)


def _fold(view: Execution | None, history: Sequence[Event]) -> Execution | None:
    if not history:
        return None
    if view is None:
        if history[0].version != 1 or isinstance(history[0], UnknownEvent):
            return None  # half pruned, or the first word of a kind of stream that a later version has
        view, history = execution.begin(history[0]), history[1:]
    for event in history:
        view.version = event.version - 1  # progress between may have been forgotten
        try:
            view.apply(event)
        except TransitionError:
            return None
    return view


async def _jobs(server: Server, events: Sequence[Event]) -> list[dict[str, object]]:
    async with server.reading(LIST_PATIENCE):
        ids = sorted({event.job_id for event in events})
        documents = await server[schema.METADATA].find({"_id": {"$in": ids}}).to_list(None)
    known: dict[str, tuple[JobState, int]] = {one["_id"]: (job_of(one), one["position"]) for one in documents}
    changed: set[str] = set()
    for event in events:
        if _tells_of_job(event) and _fold_job(known, event):
            changed.add(event.job_id)
    return [job_document(*known[job_id]) for job_id in sorted(changed)]


def _tells_of_job(event: Event) -> bool:
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
