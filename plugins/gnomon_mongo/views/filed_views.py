"""Views in a process that follows: the leader files them right behind its events, and a question may come in between.

Each event names the position from which views may not have been filed when it was appended (`batch`). What lies between
that position and the end of the log is looked at: the state of a job and a run are folded up to the newest event here;
a list waits until the leader has filed its views, for LIMIT_S at most, because a leader that was killed files nothing
more, and the next one folds what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon_mongo.lists import queries
from gnomon_mongo.log.event_append import newest_event
from gnomon_mongo.server import Server
from gnomon_mongo.views import projection

LIMIT_S = 2.0
FIRST_LOOK_S, LONGEST_LOOK_S = 0.005, 0.1
"""The pauses between two looks at views that are not filed yet."""


class FiledViews:
    """Which views are known to be filed."""

    def __init__(self) -> None:
        self._filed = 0

    async def wait(self, server: Server) -> None:
        """Wait until the views of all events that the log has by now are filed."""
        unfiled = await self._unfiled(server)
        if not unfiled:
            return
        last, pause = unfiled[-1].position, FIRST_LOOK_S
        deadline = asyncio.get_running_loop().time() + LIMIT_S
        while not await projection.are_filed(server, unfiled) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK_S)
            newer = await newest_event(server, {"batch": 1})
            if newer is not None and newer["batch"] > last:
                break
        self._filed = max(self._filed, last)

    async def jobs(self, server: Server, job_ids: Collection[str] | None, *, removed: bool) -> list[JobState]:
        """Return the states of jobs up to the newest event."""
        unfiled = await self._unfiled(server)  # first: views may be newer, and the fold knows
        if not unfiled:
            return await queries.jobs(server, job_ids, removed=removed)
        return await projection.jobs_after(server, job_ids, unfiled, removed=removed)

    async def execution(self, server: Server, execution_id: str) -> Execution | None:
        """Return a run up to its newest event."""
        return await projection.execution_after(server, execution_id)

    async def _unfiled(self, server: Server) -> Sequence[Event]:
        """Return the newest events, of which views may not be filed."""
        newest = await newest_event(server, {"batch": 1})
        if newest is None or newest["_id"] <= self._filed:
            return ()
        after = max(newest["batch"] - 1, self._filed)
        events = await queries.read(server, after, newest["_id"] - after)
        return [event for event in events if event.position <= newest["_id"]]
