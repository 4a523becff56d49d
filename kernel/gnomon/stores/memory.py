"""The in-memory store: the reference implementation of the Store port. Its log ends with the process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime

import msgspec

from gnomon.domain.events import KERNEL_STREAM, Event, Progress, job_stream
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.operator_actions import action_of
from gnomon.domain.own_copies import own_copy, own_state, own_view
from gnomon.domain.records import ActionPage, ActionQuery, Checkpoint, ExecutionQuery, LogLine, Page
from gnomon.domain.run_sorting import NEWEST_FIRST, in_order
from gnomon.errors import ConflictError, StoreError
from gnomon.hookspecs import hookimpl
from gnomon.ports import Store
from gnomon.stores.kernel_streams import find_deletable
from gnomon.stores.newest_runs import newest_of_each_job
from gnomon.stores.page_cursor import cursor_of, read_cursor, write_cursor
from gnomon.stores.removed_jobs import is_over


class MemoryStore(Store):
    """Keeps the log in dicts. Events and views are returned as copies, because callers may change them."""

    name = "memory"

    def __init__(self) -> None:
        self._open = False
        self._read_only = False
        self._head = 0
        self._log: dict[int, Event] = {}
        self._streams: dict[str, dict[int, Event]] = {}
        self._executions: dict[str, Execution] = {}
        self._jobs: dict[str, JobState] = {}
        self._checkpoints: dict[str, Checkpoint] = {}
        self._lines: dict[str, dict[int, LogLine]] = {}

    async def open(self, *, read_only: bool = False) -> None:
        self._open = True
        self._read_only = read_only

    async def close(self) -> None:
        self._open = False

    async def head(self) -> int:
        self._check_open()
        return self._head

    async def append(self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState]) -> None:
        self._check_writable()
        self._check_batch(events)
        self._add(events, executions, jobs)

    async def restore(
        self, events: Sequence[Event], executions: Sequence[Execution], jobs: Sequence[JobState], head: int
    ) -> None:
        self._check_writable()
        self._check_batch(events, has_gaps=True)
        self._add(events, executions, jobs)
        self._head = max(head, self._head)

    def _add(self, events: Iterable[Event], executions: Iterable[Execution], jobs: Iterable[JobState]) -> None:
        for event in events:
            self._log[event.position] = self._streams.setdefault(event.stream, {})[event.version] = event
            self._head = event.position
        self._executions |= {execution.id: execution for execution in executions}
        self._jobs |= {job.job_id: job for job in jobs}

    async def read(self, after: int = 0, limit: int = 1000) -> list[Event]:
        self._check_open()
        positions = range(after + 1, self._head + 1)
        found = (self._log[position] for position in positions if position in self._log)
        return [own_copy(event) for event, _ in zip(found, range(limit), strict=False)]

    async def stream(self, stream: str) -> list[Event]:
        self._check_open()
        versions = self._streams.get(stream, {})
        return [own_copy(versions[version]) for version in sorted(versions)]

    async def execution(self, execution_id: str) -> Execution | None:
        self._check_open()
        found = self._executions.get(execution_id)
        return own_view(found) if found is not None else None

    async def executions(self, query: ExecutionQuery) -> Page:
        self._check_open()
        start = read_cursor(query.cursor, query.sort) if query.cursor is not None else None
        found = in_order(filter(query.matches, self._executions.values()), query.sort)
        if query.per_job is not None:
            newest = newest_of_each_job(in_order(found, NEWEST_FIRST), query.per_job, lambda one: one.job_id)
            return Page([own_view(e) for e in newest], len(newest), None)
        rest = [e for e in found if start is None or start.is_before(e)][query.offset :]
        items = [own_view(e) for e in rest[: query.limit]]
        more = bool(items) and len(rest) > len(items)
        total = len(found) if query.counts else len(items)
        return Page(items, total, write_cursor(cursor_of(items[-1], query.sort)) if more else None)

    async def jobs(self, job_ids: Collection[str] | None = None, *, removed: bool = True) -> list[JobState]:
        self._check_open()
        wanted = self._jobs if job_ids is None else self._jobs.keys() & job_ids
        found = (self._jobs[job_id] for job_id in sorted(wanted))
        return [own_state(state) for state in found if removed or not state.removed]

    async def job_events(self, job_id: str, since: datetime, until: datetime) -> list[Event]:
        self._check_open()
        events = [e for e in self._log.values() if e.job_id == job_id and since <= e.at < until]
        return [own_copy(e) for e in events if not isinstance(e, Progress)]

    async def actions(self, query: ActionQuery) -> ActionPage:
        self._check_open()
        actions = (action_of(event) for event in reversed(self._log.values()))
        found = [action for action in actions if action is not None and query.matches(action)]
        return ActionPage(found[query.offset :][: query.limit], len(found))

    async def checkpoint(self, name: str) -> Checkpoint | None:
        self._check_open()
        return self._checkpoints.get(name)

    async def save_checkpoint(self, name: str, checkpoint: Checkpoint) -> None:
        self._check_writable()
        kept = self._checkpoints.get(name)
        if kept is None or kept.position <= checkpoint.position:
            self._checkpoints[name] = checkpoint

    async def checkpoint_names(self) -> list[str]:
        self._check_open()
        return sorted(self._checkpoints)

    async def append_log(self, execution_id: str, lines: Sequence[LogLine], oldest: int = 1) -> None:
        self._check_writable()
        kept = self._lines.get(execution_id, {}) | {line.number: line for line in lines}
        self._lines[execution_id] = {number: line for number, line in kept.items() if number >= oldest}

    async def log(self, execution_id: str, after: int = 0, limit: int = 1000) -> list[LogLine]:
        self._check_open()
        lines = self._lines.get(execution_id, {})
        return [lines[number] for number in sorted(lines) if number > after][:limit]

    async def prune(self, before: datetime) -> int:
        self._check_writable()
        ended = [e.id for e in self._executions.values() if e.is_over and e.updated_at < before]
        for execution_id in ended:
            del self._executions[execution_id]
            self._lines.pop(execution_id, None)
            self._delete(self._streams.pop(execution_id, {}).values())
        await self._prune_kernels(before)
        self._prune_jobs(before)
        return len(ended)

    def _prune_jobs(self, before: datetime) -> None:
        with_runs = {execution.job_id for execution in self._executions.values()}
        for state in [one for one in self._jobs.values() if is_over(one, before) and one.job_id not in with_runs]:
            del self._jobs[state.job_id]
            self._delete(self._streams.pop(job_stream(state.job_id), {}).values())

    async def _prune_kernels(self, before: datetime) -> None:
        deletable = await find_deletable(self, before)
        newest = {
            stream: versions[max(versions)]
            for stream, versions in self._streams.items()
            if stream.startswith(KERNEL_STREAM)
        }
        newest_stream = max(newest, key=lambda stream: newest[stream].position, default="")
        for stream, event in newest.items():
            if deletable.has(stream, event.at, newest_stream):
                self._delete(self._streams.pop(stream).values())

    def _delete(self, events: Iterable[Event]) -> None:
        for event in events:
            del self._log[event.position]

    def _check_open(self) -> None:
        if not self._open:
            raise StoreError("the memory store is not open: use it inside `async with store:`")

    def _check_writable(self) -> None:
        self._check_open()
        if self._read_only:
            raise StoreError("the memory store was opened read-only, so it cannot be written")

    def _check_batch(self, events: Sequence[Event], *, has_gaps: bool = False) -> None:
        """Refuse the whole batch before any of it is written."""
        new: set[tuple[str, int]] = set()
        position = self._head + 1
        for event in events:
            place = (event.stream, event.version)
            if event.position < position or place in new or event.version in self._streams.get(event.stream, ()):
                raise ConflictError(event.stream, event.version, event.position)
            if event.position > position and not has_gaps:
                raise StoreError(
                    f"event {event.position} would leave a gap in the log: the next position is {position}"
                )
            new.add(place)
            position = event.position + 1


class MemoryPlugin:
    """Provides the in-memory store: for tests, demonstrations, and jobs whose history is not needed."""

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        """No settings."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    @hookimpl
    def register_store(self, register: Callable[[Store], None]) -> None:
        """Register a new, empty store."""
        register(MemoryStore())
