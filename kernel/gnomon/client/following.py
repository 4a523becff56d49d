"""What grows, followed over WebSockets: a connection that breaks is taken up again where it broke."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp
import msgspec

from gnomon.client.errors import LogReplacedError, NotAllowedError, Problem
from gnomon.client.session import SILENCE, Session, segment
from gnomon.domain import codec
from gnomon.domain.events import Event
from gnomon.wire.records import EventsFrame
from gnomon.wire.run_frame import RunFrame

OVER = 1000
"""The code with which the server closes when there is nothing more to tell."""
NOT_ALLOWED = 4401
_GONE = {None: "the log is gone", "other-log": "there is another log", "pruned": "what lay between was pruned"}


async def run_frames(session: Session, task_id: str, after: int | None) -> AsyncGenerator[RunFrame, None]:
    """Follow an execution to its end, or the runs of a job for ever."""
    backoff = session.backoff()
    while True:
        try:
            async with session.websocket(f"/ws/progress/{segment(task_id)}", {"after": after}) as socket:
                async for text in _texts(socket):
                    frame = _run_frame(session, text, task_id)
                    backoff.succeeded()
                    after = frame.seq
                    if frame.type != "heartbeat":
                        yield frame
                if _is_over(session, socket):
                    return
            failure: Exception = session.lost(ConnectionError(f"it closed with {socket.close_code}"))
        except (aiohttp.ClientError, TimeoutError) as exc:
            failure = session.lost(exc)
        await backoff.pause(failure)


async def events(
    session: Session, after: int | None, job_id: str | None, types: tuple[str, ...]
) -> AsyncGenerator[Event, None]:
    """Follow the log for ever; LogReplacedError where what lies between can never be had."""
    backoff = session.backoff()
    log: str | None = None
    while True:
        try:
            query = {"after": after, "log": log, "job_id": job_id, "types": types}
            async with session.websocket("/ws/events", query) as socket:
                async for text in _texts(socket):
                    frame = msgspec.json.decode(text, type=EventsFrame)
                    if frame.type == "reset":
                        raise LogReplacedError(f"{_GONE.get(frame.reason)} at {session.url}: follow it anew")
                    backoff.succeeded()
                    after, log = frame.seq, frame.log or log
                    for body in frame.events:
                        yield codec.decode(bytes(body))
                _is_over(session, socket)
            failure: Exception = session.lost(ConnectionError(f"it closed with {socket.close_code}"))
        except (aiohttp.ClientError, TimeoutError) as exc:
            failure = session.lost(exc)
        await backoff.pause(failure)


async def _texts(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[str]:
    """Give the text frames until the connection is closed; TimeoutError where it falls silent."""
    while (message := await socket.receive(SILENCE)).type is aiohttp.WSMsgType.TEXT:
        yield message.data


def _run_frame(session: Session, text: str, task_id: str) -> RunFrame:
    raw = msgspec.json.decode(text)
    if "seq" not in raw:
        raise session.error(msgspec.convert(raw, Problem), task_id)
    return msgspec.convert(raw, RunFrame)


def _is_over(session: Session, socket: aiohttp.ClientWebSocketResponse) -> bool:
    if socket.close_code == NOT_ALLOWED:
        raise NotAllowedError(f"the kernel at {session.url} does not let you go on: the login has ended", 401)
    return socket.close_code == OVER
