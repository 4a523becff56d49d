"""A store as it was at a moment: a view of another one that answers from then, and cannot be changed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import NoReturn, TypeVar

import msgspec

from gnomon.domain import job_state
from gnomon.domain.brief import brief
from gnomon.domain.events import Event, job_stream
from gnomon.domain.execution import Execution, fold
from gnomon.domain.job_state import JobState
from gnomon.domain.records import ActionPage, ActionQuery, Checkpoint, ExecutionQuery, LogLine, Page
from gnomon.domain.run_sorting import NEWEST_FIRST, in_order
from gnomon.durations import MICROSECOND
from gnomon.errors import PastError
from gnomon.past.log_index import Past
from gnomon.ports import Store
from gnomon.stores.newest_runs import newest_of_each_job
from gnomon.stores.page_cursor import cursor_of, read_cursor, write_cursor
from gnomon.tasks import at_once

T = TypeVar("T")
AT_ONCE = 20
"""Streams that are read at once."""
MOST_OPEN = 10_000
"""Runs that are folded for a question, which takes about 0.3 ms each."""
MOST_OFFSET = 10_000


class PastStore(Store):
    """Answers the questions of a store from a moment of its log. Opening and closing it is that store's business.

    What has changed after the moment is folded again, up to there: the runs that had not ended, those that were hidden
    later, and the jobs with events of their own. Everything else is as it is now. Runs that were imported later are
    listed by their own times.
    """

    def __init__(self, store: Store, past: Past) -> None:
        self._store = store
        self._past, self._moment = past, past.moment
        self._rewound: dict[str, Execution] | None = None
        self._folding = asyncio.Lock()
        self.name = store.name  # type: ignore[misc]
        self.directory = store.directory

    async def head(self) -> int:
        return self._moment.position

    async def read(self, after: int = 0, limit: int = 1000) -> list[Event]:
        return self._until_then(await self._store.read(after, limit))

    async def stream(self, stream: str) -> list[Event]:
        return self._until_then(await self._store.stream(stream))

    async def execution(self, execution_id: str) -> Execution | None:
        found = await self._store.execution(execution_id)
        if found is None or (found.imported_from is not None and found.updated_at <= self._moment.at):
            return found
        history = await self.stream(execution_id)
        return fold(history) if history else None

    async def executions(self, query: ExecutionQuery) -> Page:
        if query.offset > MOST_OFFSET:
            raise PastError(f"a list of the past skips at most {MOST_OFFSET:,} runs: follow the cursor of its pages")
        rewound, until = await self.rewound(), self._moment.at + MICROSECOND
        bounded = msgspec.structs.replace(query, until=until if query.until is None else min(query.until, until))
        own = [brief(one) if query.brief else one for one in rewound.values() if query.matches(one)]
        if query.per_job is not None:
            return await self._newest(bounded, own, query.per_job)
        start = read_cursor(query.cursor, query.sort) if query.cursor is not None else None
        present = await _of_each(list(rewound), self._store.execution)
        excluded = sum(one is not None and bounded.matches(one) for one in present.values())
        enough = query.offset + query.limit + excluded + 1
        page = await self._store.executions(msgspec.structs.replace(bounded, limit=enough, offset=0))
        others = [one for one in page.items if one.id not in rewound]
        rest = [one for one in own if start is None or start.is_before(one)]
        merged = in_order([*others, *rest], query.sort)[query.offset :]
        items = merged[: max(query.limit, 0)]
        is_more = bool(items) and len(merged) > len(items)
        total = page.total - excluded + len(own) if query.counts else len(items)
        return Page(items, total, write_cursor(cursor_of(items[-1], query.sort)) if is_more else None)

    async def _newest(self, query: ExecutionQuery, own: list[Execution], most: int) -> Page:
        rewound = await self.rewound()
        of_job = Counter(one.job_id for one in rewound.values())
        wider = msgspec.structs.replace(query, per_job=most + max(of_job.values(), default=0))
        others = [one for one in (await self._store.executions(wider)).items if one.id not in rewound]
        newest = newest_of_each_job(in_order([*others, *own], NEWEST_FIRST), most, lambda one: one.job_id)
        return Page(newest, len(newest), None)

    async def rewound(self) -> dict[str, Execution]:
        """Return the runs that have changed after the moment, as they were then: open ones, and those hidden later."""
        async with self._folding:
            if self._rewound is None:
                self._rewound = await self._fold()
        return self._rewound

    async def _fold(self) -> dict[str, Execution]:
        if len(self._past.open) > MOST_OPEN:
            raise PastError(
                f"{len(self._past.open):,} runs had not ended at {self._moment.at.isoformat()}, more than the "
                f"{MOST_OPEN:,} that are shown"
            )
        histories = await _of_each(sorted(self._past.open | await self._hidden_later()), self.stream)
        return {one: fold(history) for one, history in histories.items() if history}

    async def _hidden_later(self) -> set[str]:
        query = ActionQuery(action="hide", since=self._moment.at, limit=1000)
        acts = (await self._store.actions(query)).items
        return {act.execution_id for act in acts if act.execution_id is not None}

    async def jobs(self, job_ids: Collection[str] | None = None, *, removed: bool = True) -> list[JobState]:
        past = self._past
        again = past.changed if job_ids is None else past.changed.intersection(job_ids)
        kept = await self._store.jobs(job_ids, removed=removed)
        states = {one.job_id: self._as_then(one) for one in kept if one.job_id not in past.later}
        histories = await _of_each(sorted(again), lambda job_id: self.stream(job_stream(job_id)))
        for job_id, history in histories.items():
            states.pop(job_id, None)
            if history:
                states[job_id] = job_state.fold(history)
        return [states[one] for one in sorted(states) if removed or not states[one].removed]

    def _as_then(self, state: JobState) -> JobState:
        """Forget the fires after the moment: the next one is then counted from it."""
        if state.newest_fire is not None and state.newest_fire > self._moment.at:
            state.last_fire = state.newest_fire = None
        return state

    async def job_events(self, job_id: str, since: datetime, until: datetime) -> list[Event]:
        return self._until_then(await self._store.job_events(job_id, since, until))

    async def actions(self, query: ActionQuery) -> ActionPage:
        until = self._moment.at + MICROSECOND
        until = until if query.until is None else min(query.until, until)
        return await self._store.actions(msgspec.structs.replace(query, until=until))

    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        lines = await self._store.log(execution_id, after, limit)
        return [line for line in lines if line.at <= self._moment.at]

    async def checkpoint(self, name: str) -> Checkpoint | None:
        _refuse(name)  # those of then are replaced

    def _until_then(self, found: Sequence[Event]) -> list[Event]:
        return [event for event in found if event.position <= self._moment.position]

    # --- what the past does not allow ---

    async def open(self, *, read_only: bool = False) -> None: ...

    async def close(self) -> None: ...

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        _refuse(events, executions, jobs)

    async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
        _refuse(name, checkpoint)

    async def append_log(self, execution_id: str, lines: Sequence[LogLine], oldest: int = 1) -> None:
        _refuse(execution_id, lines, oldest)

    async def prune(self, before: datetime) -> int:
        _refuse(before)


async def _of_each(ids: Sequence[str], read: Callable[[str], Awaitable[T]]) -> dict[str, T]:
    """Return what each id has in the store, some of them read at once."""
    found: dict[str, T] = {}
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        found |= dict(zip(some, await at_once(*map(read, some)), strict=True))
    return found


def _refuse(*_order: object) -> NoReturn:
    raise PastError("the past cannot be changed: this is a view of the log as it was")
