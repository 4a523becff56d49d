"""`/ws/progress/{task_id}`: the progress of one run or of the runs of one job: a snapshot, then each change."""

from __future__ import annotations

import msgspec
from aiohttp import web

from gnomon import Event, Execution, ExecutionQuery, KernelApi, UnknownExecutionError, UnknownJobError
from gnomon.domain.estimates import TYPICAL_RUNS
from gnomon.domain.events import job_stream
from gnomon.wire.problems import UNKNOWN_TASK
from gnomon.wire.run_frame import RunFrame
from gnomon_web.app_keys import CONFIG, kernel_of
from gnomon_web.errors import ApiError, culprit
from gnomon_web.http.responses import below_base_path, encode_json
from gnomon_web.live.connections import LIVE_CONNECTIONS, LiveConnections
from gnomon_web.live.run_view import RunView, fold_frames
from gnomon_web.live.tail import MAX_RESUME, Position
from gnomon_web.live.visible_events import VisibleEvents
from gnomon_web.live.websocket import HangUp, WebSocket, ignore


class ProgressQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Resume after the frame with this `seq`; `log` is the identity of the log that it came from."""

    after: Position | None = None
    log: str | None = None


class RunFeed:
    """One viewer of a run or of a job."""

    def __init__(self, request: web.Request, task_id: str, query: ProgressQuery) -> None:
        self._live: LiveConnections = request.app[LIVE_CONNECTIONS]
        self._config = request.app[CONFIG]
        self._kernel: KernelApi = kernel_of(request)
        self._visible = VisibleEvents(self._kernel)
        self._tail = self._live.tail
        self._task_id = self._job_id = task_id
        self._query = query
        self._is_execution = False
        self._cursor = 0
        self._views: dict[str, RunView] = {}
        self._past: list[Execution] | None = None
        self._websocket: WebSocket

    async def send(self, websocket: WebSocket) -> None:
        """Send frames until the run is over; for a job, until the connection ends."""
        self._websocket = websocket
        self._cursor = self._tail.head  # read first: an event that arrives in between comes again and is ignored
        if history := await self._history(self._task_id):
            self._is_execution = True
            await self._begin_with_run(history, self._query.after)
        else:
            await self._begin_with_job(await self._unfinished())
        while not self._is_settled():
            await self._follow()

    def heartbeat(self) -> bytes:
        """Return a heartbeat."""
        return self.encode(RunFrame(type="heartbeat", seq=self._cursor, at=self._kernel.clock.now()))

    def encode(self, frame: RunFrame) -> bytes:
        """Write a frame; an empty one is not sent."""
        return encode_json(frame)

    # --- one run ---

    async def _begin_with_run(self, history: list[Event], after: int | None) -> None:
        self._cursor = max(self._cursor, history[-1].position)  # the history has all events of the run up to here
        if after is not None and await self._live.is_other_log(self._query.log, after):
            await self._reset()
            after = None
        self._cursor = max(self._cursor, after or 0)
        self._job_id = history[0].job_id
        seen = [event for event in history if after is None or event.position <= after]
        view = self._views[self._task_id] = await self._view(self._job_id)
        for event in seen:
            view.apply(event)
        if after is None:
            await self._send_present([view.frame("snapshot", self._cursor, self._kernel.clock.now())])
        await self._send(fold_frames(self._views, history[len(seen) :]))

    def _is_settled(self) -> bool:
        """Whether the requested run is over, so that nothing more follows."""
        run = self._views[self._task_id].execution if self._is_execution else None
        return run is not None and run.is_over

    # --- a job ---

    async def _unfinished(self) -> list[str]:
        try:
            job = await self._kernel.job(self._task_id)
        except UnknownJobError as exc:
            detail = self._unknown()
            problem = ApiError(UNKNOWN_TASK, detail, errors=[culprit("path", "task_id", detail)]).problem
            await self._websocket.send(encode_json(below_base_path(self._config, problem)))
            raise HangUp(4404, detail) from exc
        return [*job.running, *job.waiting]

    async def _begin_with_job(self, unfinished: list[str]) -> None:
        after = self._query.after
        if after is not None:
            if not await self._live.is_other_log(self._query.log, after) and self._tail.head - after <= MAX_RESUME:
                self._cursor = after
                return
            await self._reset()
        await self._send_snapshots(unfinished)

    async def _send_snapshots(self, unfinished: list[str]) -> None:
        """Send a snapshot of every unfinished run, all as of one position; an empty one where there is none."""
        self._views.clear()
        frames, now = [], self._kernel.clock.now()
        for execution_id in unfinished:
            await self._load(execution_id, self._task_id, up_to=self._cursor)
            view = self._views.get(execution_id)
            if view is not None and view.execution is not None and not view.execution.is_over:
                frames.append(view.frame("snapshot", self._cursor, now))
        await self._send_present(frames or [RunFrame(type="snapshot", seq=self._cursor, job_id=self._task_id, at=now)])

    # --- both ---

    async def _follow(self) -> None:
        """Fold the next events and send their frames."""
        await self._tail.reach(self._cursor + 1)
        part = await self._tail.read(self._cursor)
        if part.has_gap():
            await self._restart()
            return
        if not await self._visible.still_show(self._job_id, part):
            raise HangUp(4404, self._unknown())
        self._cursor = part.upto
        events = [entry.event for entry in part.entries if self._concerns(entry.event)]
        for event in events:
            if event.version == 1:
                self._views[event.stream] = await self._view(event.job_id)
            elif event.stream not in self._views:
                await self._load(event.stream, event.job_id, up_to=event.position - 1)
        await self._send(fold_frames(self._views, events))
        self._drop_finished()

    async def _restart(self) -> None:
        """Start again from the present: unread events have been pruned."""
        self._cursor = self._tail.head
        await self._reset()
        if not self._is_execution:
            await self._send_snapshots(await self._unfinished())
        elif history := await self._history(self._task_id):
            await self._begin_with_run(history, None)
        else:
            raise HangUp(4404, "the execution has been pruned")

    def _unknown(self) -> str:
        return f"no execution and no job has the id {self._task_id!r}"

    def _concerns(self, event: Event) -> bool:
        if self._is_execution:
            return event.stream == self._task_id
        return event.job_id == self._task_id and event.stream != job_stream(event.job_id)

    async def _load(self, execution_id: str, job_id: str, *, up_to: int) -> None:
        """Fold a run's events up to a position without sending frames."""
        view = self._views[execution_id] = await self._view(job_id)
        for event in await self._history(execution_id):
            if event.position <= up_to:
                view.apply(event)

    async def _view(self, job_id: str) -> RunView:
        """Return an empty view, with the past runs that the remaining time is estimated from."""
        if self._past is None:
            query = ExecutionQuery(job_id=job_id, status=("success",), limit=TYPICAL_RUNS, brief=True, counts=False)
            self._past = (await self._kernel.executions(query)).items
        return RunView(self._past)

    async def _history(self, execution_id: str) -> list[Event]:
        try:
            return await self._kernel.history(execution_id)
        except UnknownExecutionError:
            return []

    def _drop_finished(self) -> None:
        """Drop the finished runs of a job; the successful ones serve the estimates for the next ones."""
        if self._is_execution:
            return
        over = [view.execution for view in self._views.values() if view.execution and view.execution.is_over]
        for run in over:
            del self._views[run.id]
            if run.status == "success" and self._past is not None:
                self._past = [run, *(one for one in self._past if one.id != run.id)][:TYPICAL_RUNS]

    async def _reset(self) -> None:
        await self._send_present([RunFrame(type="reset", seq=self._cursor, at=self._kernel.clock.now())])

    async def _send_present(self, frames: list[RunFrame]) -> None:
        """Send frames that name the log, so that a client can resume in it and in no other."""
        for frame in frames:
            frame.log = self._kernel.log_id
        await self._send(frames)

    async def _send(self, frames: list[RunFrame]) -> None:
        for frame in frames:
            if text := self.encode(frame):
                await self._websocket.send(text)


async def serve_progress(request: web.Request, task_id: str, query: ProgressQuery) -> web.StreamResponse:
    """Follow an execution to its end, or the running and next executions of a job."""
    feed = RunFeed(request, task_id, query)
    live = request.app[LIVE_CONNECTIONS]
    return await live.serve(request, feed.send, receive=ignore, heartbeat=feed.heartbeat)
