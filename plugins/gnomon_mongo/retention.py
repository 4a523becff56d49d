"""Deletes old executions and old progress, slowly: the kernel's own writes come first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

from gnomon.domain.events import Event, job_stream
from gnomon.domain.execution import FINAL
from gnomon.domain.job_state import JobState
from gnomon.stores import kernel_streams
from gnomon.stores.kernel_streams import Deletable
from gnomon.stores.microseconds import to_micros
from gnomon.stores.removed_jobs import is_over
from gnomon_mongo import schema
from gnomon_mongo.documents.conversion import event_of, execution_key, job_of, millis
from gnomon_mongo.documents.foreign_documents import own
from gnomon_mongo.drivers import Document
from gnomon_mongo.log.operations import keep_head, read_head
from gnomon_mongo.server import WORK_LIMIT_S, Server
from gnomon_shared_log.writing.pace import Pace


async def prune(server: Server, before: datetime, pace: Pace, announce: Callable[[set[str]], Awaitable[None]]) -> int:
    """Delete executions that ended before that moment, with their events, log lines and actions; return how many.

    `announce` is awaited with their ids before each step.
    """
    await _keep_head(server)
    pruned = 0
    while ids := await _ended(server, before, pace.size, {}):
        await announce(set(ids))
        keys = [execution_key(execution_id) for execution_id in ids]
        async with pace.step(), server.writing(WORK_LIMIT_S):
            await server[schema.LINES].delete_many({"execution_id": {"$in": ids}})
            await server[schema.HISTORY].delete_many({"execution_id": {"$in": ids}})
            await server[schema.EVENTS].delete_many({"stream": {"$in": ids}})
            # Last, so that the next call completes an interrupted one.
            await server[schema.EXECUTIONS].delete_many({"_id": {"$in": keys}})
        pruned += len(ids)
    return pruned


async def prune_kernels(
    server: Server, deletable: Deletable, pace: Pace, announce: Callable[[set[str]], Awaitable[None]]
) -> None:
    """Delete the streams of kernels that are over, with the acts that they record; `announce` as in `prune`."""
    await _keep_head(server)
    newest_stream, newest_position = "", 0
    ends: list[tuple[str, datetime]] = []
    async for event in _ends_of_kernels(server):
        if event.position > newest_position:
            newest_stream, newest_position = event.stream, event.position
        if event.at < deletable.before:
            ends.append((event.stream, event.at))
    over = [stream for stream, at in ends if deletable.has(stream, at, newest_stream)]
    while over:
        streams, over = over[: pace.size], over[pace.size :]
        await announce(set(streams))
        async with pace.step(), server.writing(WORK_LIMIT_S):
            where = {"stream": {"$in": streams}}
            positions = [one["_id"] for one in await server[schema.EVENTS].find(where, {"_id": 1}).to_list(None)]
            await server[schema.HISTORY].delete_many({"_id": {"$in": positions}, **own(schema.HISTORY)})
            await server[schema.EVENTS].delete_many(where)  # last, so that the next call completes an interrupted one


async def _ends_of_kernels(server: Server) -> AsyncIterator[Event]:
    """Yield the newest event of each stream of a kernel: two look-ups in the index of streams for each."""
    events, name = server[schema.EVENTS], kernel_streams.FIRST
    while True:
        following = {"stream": {"$gt": name, "$lt": kernel_streams.AFTER_LAST}}
        async with server.writing(WORK_LIMIT_S):
            first = (
                await events.find(following, {"stream": 1}).sort([("stream", 1), ("version", 1)]).limit(1).to_list(1)
            )
            if not first:
                return
            name = first[0]["stream"]
            last = await events.find({"stream": name}).sort([("stream", -1), ("version", -1)]).limit(1).to_list(1)
        for document in last:
            yield event_of(document)


async def prune_jobs(
    server: Server, before: datetime, pace: Pace, announce: Callable[[set[str]], Awaitable[None]]
) -> None:
    """Delete the removed jobs that are over and have no runs, with the acts in their streams; `announce` as in `prune`.

    A job that is added again meanwhile keeps its state and its new events.
    """
    await _keep_head(server)
    after = ""
    while found := await _removed_jobs(server, after, pace.size):
        after = found[-1]["_id"]
        states = [(document, await _dated(server, job_of(document))) for document in found]
        over = {state.job_id: (document, state) for document, state in states if is_over(state, before)}
        async with server.writing(WORK_LIMIT_S):
            with_runs = await server[schema.EXECUTIONS].distinct("job_id", {"job_id": {"$in": sorted(over)}})
        over = {job_id: one for job_id, one in over.items() if job_id not in with_runs}
        if not over:
            continue
        await announce({job_stream(job_id) for job_id in over})
        async with pace.step(), server.writing(WORK_LIMIT_S):
            where = {
                "$or": [
                    {"stream": job_stream(job_id), "version": {"$lte": state.version}}
                    for job_id, (_, state) in over.items()
                ]
            }
            positions = [one["_id"] for one in await server[schema.EVENTS].find(where, {"_id": 1}).to_list(None)]
            await server[schema.HISTORY].delete_many({"_id": {"$in": positions}, **own(schema.HISTORY)})
            await server[schema.EVENTS].delete_many(where)
            # Last, so that the next call completes an interrupted one.
            these = [{"_id": job_id, "position": document["position"]} for job_id, (document, _) in over.items()]
            await server[schema.METADATA].delete_many({"$or": these})


async def _removed_jobs(server: Server, after: str, most: int) -> list[Document]:
    where = {"$and": [own(schema.METADATA), {"removed": True, "_id": {"$gt": after}}]}
    async with server.writing(WORK_LIMIT_S):
        return await server[schema.METADATA].find(where).sort("_id", 1).limit(most).to_list(None)


async def _dated(server: Server, state: JobState) -> JobState:
    """Add the time of the removal to a state of an older version, which does not have it."""
    if state.removed_at is None and state.version:
        async with server.writing(WORK_LIMIT_S):
            of_job = server[schema.EVENTS].find({"stream": job_stream(state.job_id)})
            last = await of_job.sort([("stream", -1), ("version", -1)]).limit(1).to_list(1)
        state.removed_at = event_of(last[0]).at if last else None
    return state


async def prune_progress(server: Server, before: datetime, pace: Pace) -> int:
    """Delete the progress events of executions that ended before that moment; return how many events."""
    await _keep_head(server)
    pruned = 0
    while ids := await _ended(server, before, pace.size, {"gnomon.is_without_progress": None}):
        keys = [execution_key(execution_id) for execution_id in ids]
        async with pace.step(), server.writing(WORK_LIMIT_S):
            deleted = await server[schema.EVENTS].delete_many({"stream": {"$in": ids}, "type": "progress"})
            await server[schema.EXECUTIONS].update_many(
                {"_id": {"$in": keys}}, {"$set": {"gnomon.is_without_progress": True}}
            )
        pruned += deleted.deleted_count
    return pruned


async def _ended(server: Server, before: datetime, most: int, more: Document) -> list[str]:
    """Find some executions that ended before a moment, with the index of status and timestamp."""
    where = {
        "status": {"$in": sorted(FINAL)},
        "timestamp": {"$lte": millis(before)},
        "gnomon.ended": {"$lt": to_micros(before)},
    }
    async with server.writing(WORK_LIMIT_S):
        found = server[schema.EXECUTIONS].find({**where, **more}, {"_id": 1}).limit(most)
        return [str(document["_id"]) for document in await found.to_list(None)]


async def _keep_head(server: Server) -> None:
    """Record the highest position before events are deleted."""
    await keep_head(server, await read_head(server))
