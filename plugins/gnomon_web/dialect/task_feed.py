"""`/ws/task/{task_id}`: the progress of a run, or of the runs of a job, in the frames of TradingAgents-CN."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec
from aiohttp import hdrs, web

from gnomon.domain.execution import Status
from gnomon.domain.progress import Step
from gnomon.wire.run_frame import RunFrame
from gnomon_web.dialect.language import Message, prefers_chinese
from gnomon_web.http.responses import encode_json
from gnomon_web.live.connections import LIVE_CONNECTIONS
from gnomon_web.live.run_feed import ProgressQuery, RunFeed
from gnomon_web.live.websocket import WebSocket, ignore

TaskStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
_STATUS_OF: Final[dict[Status, TaskStatus]] = {
    "scheduled": "pending",
    "running": "running",
    "success": "completed",
    "failed": "failed",
    "missed": "failed",
    "cancelled": "cancelled",
}
_CONNECTED: Final = Message("WebSocket 连接已建立", "Connected")


class Notice(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The first frame, and those that keep a silent connection open."""

    type: Literal["connection_established", "heartbeat"]
    task_id: str
    message: str = ""
    timestamp: datetime


class ProgressUpdate(msgspec.Struct, kw_only=True):
    """The state of a run: first the present one, then each change. Times are in seconds."""

    type: Literal["progress_update"] = "progress_update"
    task_id: str
    execution_id: str
    status: TaskStatus
    progress: int
    message: str
    current_step: str
    steps: tuple[Step, ...]
    elapsed_time: float
    remaining_time: float
    timestamp: datetime


class TaskFeed(RunFeed):
    """One viewer. Unlike the old manager it sends the present state first, so that a reconnect misses nothing."""

    def __init__(self, request: web.Request, task_id: str) -> None:
        super().__init__(request, task_id, ProgressQuery())
        self._task_id = task_id
        is_chinese = prefers_chinese(request.headers.get(hdrs.ACCEPT_LANGUAGE))
        self._greeting = _CONNECTED.text(None, is_chinese=is_chinese)
        self._now = request.app[LIVE_CONNECTIONS].kernel.clock.now

    async def send(self, websocket: WebSocket) -> None:
        """Send the greeting, then the frames."""
        greeting = Notice(
            type="connection_established", task_id=self._task_id, message=self._greeting, timestamp=self._now()
        )
        await websocket.send(encode_json(greeting))
        await super().send(websocket)

    def encode(self, frame: RunFrame) -> bytes:
        """Write a frame; nothing for what the old manager has no frame for."""
        if frame.type == "heartbeat":
            return encode_json(Notice(type="heartbeat", task_id=self._task_id, timestamp=frame.at))
        if frame.execution_id is None or frame.status is None:
            return b""
        failure = frame.error_message if frame.status == "failed" else None
        update = ProgressUpdate(
            task_id=self._task_id,
            execution_id=frame.execution_id,
            status=_STATUS_OF[frame.status],
            progress=round(frame.progress or 0),
            message=failure or frame.message or frame.error_message or "",
            current_step=frame.step or "",
            steps=frame.steps,
            elapsed_time=frame.elapsed or 0.0,
            remaining_time=frame.remaining or 0.0,
            timestamp=frame.at,
        )
        return encode_json(update)


async def serve_task(request: web.Request, task_id: str) -> web.StreamResponse:
    """Follow an execution to its end, or the runs of a job, in the frames of TradingAgents-CN."""
    feed = TaskFeed(request, task_id)
    live = request.app[LIVE_CONNECTIONS]
    return await live.serve(request, feed.send, receive=ignore, heartbeat=feed.heartbeat)
