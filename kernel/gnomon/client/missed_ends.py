"""The ends of runs that a follower of a job missed: read from the records after a reset."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Protocol

from gnomon.domain.estimates import timing
from gnomon.domain.execution import Execution, Status
from gnomon.domain.records import Page
from gnomon.errors import UnknownExecutionError
from gnomon.wire.run_frame import FrameType, RunFrame

MAX_ENDED = 10_000
"""Ended runs that are remembered, so that no end is reported twice."""
PAGE = 200
TYPES: Final[dict[Status, FrameType]] = {
    "success": "succeeded",
    "failed": "failed",
    "missed": "missed",
    "cancelled": "cancelled",
}


class Records(Protocol):
    """Reads the records of the server."""

    async def execution(self, execution_id: str) -> Execution:
        """Return an execution."""

    async def executions(
        self, *, job_id: str, status: tuple[Status, ...], since: datetime, limit: int, cursor: str | None
    ) -> Page:
        """Return a page of executions, newest first."""


class SeenRuns:
    """The runs of a followed job: which are unfinished, which have ended, and when the newest change was."""

    def __init__(self) -> None:
        self._unfinished: set[str] = set()
        self._ended: dict[str, None] = {}
        self._newest_at: datetime | None = None

    def note(self, frame: RunFrame) -> bool:
        """Note a frame; False for a frame of a run whose end has been reported."""
        if frame.type in {"heartbeat", "reset"}:
            return frame.type == "reset"
        if frame.execution_id in self._ended:
            return False
        self._newest_at = max(frame.at, self._newest_at or frame.at)
        if frame.execution_id is not None:
            self._note_run(frame.execution_id, is_over=frame.status in TYPES)
        return True

    def _note_run(self, execution_id: str, *, is_over: bool) -> None:
        if not is_over:
            self._unfinished.add(execution_id)
            return
        self._unfinished.discard(execution_id)
        self._ended[execution_id] = None
        if len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]

    async def missed_ends(self, records: Records, job_id: str, reset: RunFrame) -> list[RunFrame]:
        """Return frames for the ends between the last frame and a reset, in the order of the ends.

        Those are the ends of runs that were unfinished before, and of runs that began since then.
        """
        found: dict[str, Execution] = {}
        for execution_id in self._unfinished:
            try:
                found[execution_id] = await records.execution(execution_id)
            except UnknownExecutionError:  # of another log, or pruned
                continue
        cursor: str | None = None
        while self._newest_at is not None:
            page = await records.executions(
                job_id=job_id, status=tuple(TYPES), since=self._newest_at, limit=PAGE, cursor=cursor
            )
            found |= {one.id: one for one in page.items}
            if (cursor := page.next) is None or len(found) > MAX_ENDED:
                break
        self._unfinished.clear()
        ended = sorted((one for one in found.values() if one.is_over), key=lambda one: (one.updated_at, one.id))
        frames = [
            RunFrame.of(one, TYPES[one.status], reset.seq, one.updated_at, timing(one, (), one.updated_at))
            for one in ended
        ]
        return [frame for frame in frames if self.note(frame)]
