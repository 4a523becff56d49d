"""`/ws/progress/{task_id}`: one run, or the runs of one job, as they go: a snapshot, then what follows."""

from __future__ import annotations

import msgspec
from aiohttp import web

from gnomon import Event, Execution, ExecutionQuery, Kernel, UnknownExecutionError, UnknownJobError
from gnomon.domain.estimates import TYPICAL_RUNS
from gnomon.domain.events import job_stream
from gnomon.wire.run_frame import RunFrame
from gnomon_web.live.connection import Connection, HangUp, ignore
from gnomon_web.live.frames import RunView, fold_frames
from gnomon_web.live.hub import HUB, Hub
from gnomon_web.live.tail import FARTHEST_RESUME, Position
from gnomon_web.problems import ApiError, culprit


class ProgressQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Go on after the frame with that `seq`; `log` is the identity of the log that it came from."""

    after: Position | None = None
    log: str | None = None


class RunFeed:
    """One viewer of a run or of a job."""

    def __init__(self, hub: Hub, task_id: str, query: ProgressQuery) -> None:
        self._hub = hub
        self._kernel: Kernel = hub.kernel
        self._tail = hub.tail
        self._task_id = task_id
        self._query = query
        self._is_execution = False
        self._cursor = 0
        self._views: dict[str, RunView] = {}
        self._past: list[Execution] | None = None
        self._connection: Connection

    async def talk(self, connection: Connection) -> None:
        """Send frames until the run is over, or for as long as somebody looks at the job."""
        self._connection = connection
        self._cursor = self._tail.head  # before anything is read: what comes in between comes again, and is known
        if history := await self._history(self._task_id):
            self._is_execution = True
            await self._begin_with_run(history, self._query.after)
        else:
            await self._begin_with_job(await self._unfinished())
        while not self._is_settled():
            await self._follow()

    def heartbeat(self) -> bytes:
        """Say how far it has come."""
        return _encode(RunFrame(type="heartbeat", seq=self._cursor, at=self._kernel.clock.now()))

    # --- one run ---

    async def _begin_with_run(self, history: list[Event], after: int | None) -> None:
        self._cursor = max(self._cursor, history[-1].position)  # the history holds all of the run up to here
        if after is not None and self._hub.why_not(self._query.log, after):
            await self._reset()
            after = None
        self._cursor = max(self._cursor, after or 0)
        seen = [event for event in history if after is None or event.position <= after]
        view = self._views[self._task_id] = await self._view(history[0].job_id)
        for event in seen:
            view.take(event)
        if after is None:
            await self._send([view.frame("snapshot", self._cursor, self._kernel.clock.now())])
        await self._send(fold_frames(self._views, history[len(seen) :]))

    def _is_settled(self) -> bool:
        """Whether the run that was asked for is over: then there is nothing more to tell."""
        run = self._views[self._task_id].execution if self._is_execution else None
        return run is not None and run.is_over

    # --- a job ---

    async def _unfinished(self) -> list[str]:
        try:
            job = await self._kernel.job(self._task_id)
        except UnknownJobError as exc:
            detail = f"there is no execution and no job with the id {self._task_id!r}"
            problem = ApiError(404, detail, errors=[culprit("path", "task_id", detail)]).problem
            await self._connection.send(msgspec.json.encode(problem))
            raise HangUp(4404, detail) from exc
        return [*job.running, *job.waiting]

    async def _begin_with_job(self, unfinished: list[str]) -> None:
        after = self._query.after
        if after is not None:
            if not self._hub.why_not(self._query.log, after) and self._tail.head - after <= FARTHEST_RESUME:
                self._cursor = after
                return
            await self._reset()
        await self._send_snapshots(unfinished)

    async def _send_snapshots(self, unfinished: list[str]) -> None:
        """Show every run that is not over, all as of one position; an empty frame where there is none."""
        self._views.clear()
        frames, now = [], self._kernel.clock.now()
        for execution_id in unfinished:
            await self._load(execution_id, self._task_id, up_to=self._cursor)
            view = self._views.get(execution_id)
            if view is not None and view.execution is not None and not view.execution.is_over:
                frames.append(view.frame("snapshot", self._cursor, now))
        await self._send(frames or [RunFrame(type="snapshot", seq=self._cursor, job_id=self._task_id, at=now)])

    # --- both ---

    async def _follow(self) -> None:
        """Take in what has come, and tell of it."""
        await self._tail.reach(self._cursor + 1)
        part = await self._tail.read(self._cursor)
        if part.lacks():
            await self._begin_anew()
            return
        self._cursor = part.upto
        events = [entry.event for entry in part.entries if self._concerns(entry.event)]
        for event in events:
            if event.version == 1:
                self._views[event.stream] = await self._view(event.job_id)
            elif event.stream not in self._views:
                await self._load(event.stream, event.job_id, up_to=event.position - 1)
        await self._send(fold_frames(self._views, events))
        self._forget_settled()

    async def _begin_anew(self) -> None:
        """Go on from the present, where some of what lies between has been pruned."""
        self._cursor = self._tail.head
        await self._reset()
        if not self._is_execution:
            await self._send_snapshots(await self._unfinished())
        elif history := await self._history(self._task_id):
            await self._begin_with_run(history, None)
        else:
            raise HangUp(4404, "the execution has been pruned")

    def _concerns(self, event: Event) -> bool:
        if self._is_execution:
            return event.stream == self._task_id
        return event.job_id == self._task_id and event.stream != job_stream(event.job_id)

    async def _load(self, execution_id: str, job_id: str, *, up_to: int) -> None:
        """Fold what a run has told up to a position; nothing of it is sent."""
        view = self._views[execution_id] = await self._view(job_id)
        for event in await self._history(execution_id):
            if event.position <= up_to:
                view.take(event)

    async def _view(self, job_id: str) -> RunView:
        """Make an empty view, with the past runs that say how long this one will take."""
        if self._past is None:
            query = ExecutionQuery(job_id=job_id, status=("success",), limit=TYPICAL_RUNS)
            self._past = (await self._kernel.executions(query)).items
        return RunView(self._past)

    async def _history(self, execution_id: str) -> list[Event]:
        try:
            return await self._kernel.history(execution_id)
        except UnknownExecutionError:
            return []

    def _forget_settled(self) -> None:
        """Let go of the runs of a job that are over; those that succeeded tell how long the next ones take."""
        if self._is_execution:
            return
        over = [view.execution for view in self._views.values() if view.execution and view.execution.is_over]
        for run in over:
            del self._views[run.id]
            if run.status == "success" and self._past is not None:
                self._past = [run, *(one for one in self._past if one.id != run.id)][:TYPICAL_RUNS]

    async def _reset(self) -> None:
        await self._send([RunFrame(type="reset", seq=self._cursor, at=self._kernel.clock.now())])

    async def _send(self, frames: list[RunFrame]) -> None:
        for frame in frames:
            await self._connection.send(_encode(frame))


_encode = msgspec.json.Encoder().encode


async def serve_progress(request: web.Request, task_id: str, query: ProgressQuery) -> web.StreamResponse:
    """Follow an execution to its end, or the running and next executions of a job."""
    hub = request.app[HUB]
    feed = RunFeed(hub, task_id, query)
    return await hub.hold(request, feed.talk, hear=ignore, heartbeat=feed.heartbeat)
