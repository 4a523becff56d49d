"""Runs and the log, followed over WebSockets: a lost connection is opened again where it was lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp
import msgspec

from gnomon.client.errors import LogReplacedError, NotAllowedError
from gnomon.client.missed_ends import Records, SeenRuns
from gnomon.client.session import SILENCE_S, Session, segment
from gnomon.domain import codec
from gnomon.domain.events import Event
from gnomon.wire.problems import Problem
from gnomon.wire.records import EventsFrame
from gnomon.wire.run_frame import RunFrame

COMPLETE = 1000
"""The close code for a stream that has been sent completely."""
NOT_ALLOWED = 4401
_REPLACED = {
    None: "the followed log is no longer available",
    "other-log": "another log has taken the place of the followed one",
    "pruned": "events that were not read yet have been pruned",
}


async def run_frames(
    session: Session, records: Records, task_id: str, after: int | None
) -> AsyncGenerator[RunFrame, None]:
    """Follow an execution to its end, or the runs of a job without end."""
    patience, seen = session.patience(), SeenRuns()
    log: str | None = None
    while True:
        try:
            query = {"after": after, "log": log}
            async with session.websocket(f"/ws/progress/{segment(task_id)}", query) as socket:
                async for text in _texts(socket):
                    frame = _run_frame(session, text, task_id)
                    patience.succeeded()
                    after, log = frame.seq, frame.log or log
                    if seen.note(frame):
                        yield frame
                    if frame.type == "reset":
                        for end in await seen.missed_ends(records, task_id, frame):
                            yield end
                if _is_complete(session, socket):
                    return
            failure: Exception = session.lost(ConnectionError(f"the connection closed with code {socket.close_code}"))
        except (aiohttp.ClientError, TimeoutError) as exc:
            failure = session.lost(exc)
        await patience.pause(failure)


async def events(
    session: Session, after: int | None, job_id: str | None, types: tuple[str, ...]
) -> AsyncGenerator[Event, None]:
    """Follow the log without end; LogReplacedError where unread events cannot be had any more."""
    patience = session.patience()
    log: str | None = None
    while True:
        try:
            query = {"after": after, "log": log, "job_id": job_id, "types": types}
            async with session.websocket("/ws/events", query) as socket:
                async for text in _texts(socket):
                    frame = msgspec.json.decode(text, type=EventsFrame)
                    if frame.type == "reset":
                        raise LogReplacedError(f"{_REPLACED[frame.reason]} at {session.url}: follow from the beginning")
                    patience.succeeded()
                    after, log = frame.seq, frame.log or log
                    for body in frame.events:
                        yield codec.decode(bytes(body))
                _is_complete(session, socket)
            failure: Exception = session.lost(ConnectionError(f"the connection closed with code {socket.close_code}"))
        except (aiohttp.ClientError, TimeoutError) as exc:
            failure = session.lost(exc)
        await patience.pause(failure)


async def _texts(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[str]:
    """Yield the text frames until the connection is closed; TimeoutError after too long a silence."""
    while (message := await socket.receive(SILENCE_S)).type is aiohttp.WSMsgType.TEXT:
        yield message.data


def _run_frame(session: Session, text: str, task_id: str) -> RunFrame:
    raw = msgspec.json.decode(text)
    if "seq" not in raw:
        raise session.error(msgspec.convert(raw, Problem), task_id)
    return msgspec.convert(raw, RunFrame)


def _is_complete(session: Session, socket: aiohttp.ClientWebSocketResponse) -> bool:
    if socket.close_code == NOT_ALLOWED:
        raise NotAllowedError(f"the kernel at {session.url} ended the login of this connection: log in again", 401)
    return socket.close_code == COMPLETE
