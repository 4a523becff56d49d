"""The end of the log that is not flushed yet: each reader folds it, and continues from where it stopped."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from gnomon.domain import execution
from gnomon.domain.brief import brief
from gnomon.domain.events import Event, JobEvent, KernelEvent
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.errors import TransitionError
from gnomon.stores.commit_rows import End
from gnomon.stores.view_folds import fold_jobs
from gnomon_sqlite.connection import OwnConnection, connect, insert
from gnomon_sqlite.log import event_rows
from gnomon_sqlite.log.checksums import seal
from gnomon_sqlite.schema import VIEW_COLUMNS
from gnomon_sqlite.views.projection_writer import (
    LARGE_BYTES,
    REPLACE_VIEW,
    VIEW,
    PendingViews,
    checked_view,
    flushed_jobs,
    row_of,
)

_encode = msgspec.json.Encoder().encode
_LIVE = "SELECT id, body, checksum FROM live WHERE id IN (SELECT value FROM json_each(?))"
_FINAL = "SELECT id FROM executions WHERE id IN (SELECT value FROM json_each(?))"
_UNFLUSHED = (
    f"CREATE TEMP TABLE tail ({VIEW_COLUMNS})",
    f"""CREATE TEMP VIEW unflushed AS SELECT {VIEW} FROM temp.tail
        UNION ALL SELECT {VIEW} FROM main.live WHERE id NOT IN (SELECT id FROM temp.tail)""",  # noqa: S608 - our own names
)


class Tail:
    """The views that follow from the events beyond `flushed`, by the same fold as everywhere: the log is the truth."""

    def __init__(self) -> None:
        self.flushed = self.head = -1
        self.ends: dict[str, End] = {}
        self.executions: dict[str, Execution] = {}
        self._job_events: list[Event] = []
        self._final: set[str] = set()

    def catch_up(self, connection: sqlite3.Connection) -> set[str]:
        """Fold the events since the last call, in the caller's transaction; return the executions that changed."""
        (flushed,) = connection.execute("SELECT position FROM flushed").fetchone()
        if flushed != self.flushed:
            self.flushed = self.head = flushed
            for known in (self.ends, self.executions, self._job_events, self._final):
                known.clear()
        events = event_rows.read_rows(connection, self.head)
        if not events:
            return set()
        self._load({event.stream for event in events if event.version > 1}, connection)
        changed = {event.stream for event in events if self._fold(event)}
        self.head = events[-1].position
        return changed

    def apply_to(self, states: dict[str, JobState]) -> None:
        """Fold the unflushed events of jobs into their flushed states."""
        fold_jobs(states, self._job_events)

    @property
    def jobs(self) -> frozenset[str]:
        """The jobs that have unflushed events."""
        return frozenset(event.job_id for event in self._job_events)

    def _load(self, streams: Iterable[str], connection: sqlite3.Connection) -> None:
        """Load the flushed views of streams that began before."""
        begun = _encode([stream for stream in streams if stream not in self.ends]).decode()
        for row in connection.execute(_LIVE, (begun,)).fetchall():
            view = checked_view(*row)
            self.executions[view.id] = view
        self._final.update(stream for (stream,) in connection.execute(_FINAL, (begun,)).fetchall())

    def _fold(self, event: Event) -> bool:
        """Fold one event; return whether it changes an execution that is not flushed."""
        stream, view = event.stream, self.executions.get(event.stream)
        if stream in self._final:
            return False  # an event after the end of a flushed run updates its row at once
        self.ends[stream] = (event.version, event.position)
        if (event.version == 1 or view is None) and event.job_id:
            self._job_events.append(event)
        try:
            if view is not None:
                view.apply(event)
            elif isinstance(event, JobEvent | KernelEvent):
                return False
            else:
                self.executions[stream] = execution.begin(event)
        except TransitionError:
            return False  # from another version, or damaged: the rest must stay readable
        return True


def pending_views(connection: sqlite3.Connection) -> PendingViews:
    """Return what a writer that is gone did not flush."""
    tail, pending = Tail(), PendingViews()
    tail.catch_up(connection)
    pending.events = tail.head - tail.flushed
    pending.ends, pending.executions = tail.ends, tail.executions
    if tail.jobs:  # with 100,000 jobs, most have no new event, and usually none has
        states = flushed_jobs(connection, tail.jobs)
        tail.apply_to(states)
        pending.jobs = {job_id: states[job_id] for job_id in tail.jobs if job_id in states}
    return pending


class Reader(OwnConnection):
    """A read-only connection whose view `unflushed` holds what is not flushed, as of the last `catch_up`."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.tail = Tail()

    def catch_up(self) -> None:
        """Bring `unflushed` to the head of the log as this transaction sees it."""
        tail, flushed = self.tail, self.tail.flushed
        try:
            changed = tail.catch_up(self)
            if tail.flushed != flushed:
                self.execute("DELETE FROM temp.tail")
            rows = [_without_large_body(row_of(tail.executions[stream], tail.ends[stream])) for stream in changed]
            insert(self, f"INTO temp.tail ({VIEW})", rows, REPLACE_VIEW)
        except BaseException:
            self.tail = Tail()  # the table may lack some of its rows
            raise

    def view_of(self, execution_id: str, body: bytes, checksum: int, *, is_brief: bool = False) -> Execution:
        """Return the view of a row of `executions` or `unflushed`, cut for a list if it `is_brief`."""
        if not body and checksum == seal(execution_id, b""):  # see _without_large_body
            view = copy.copy(self.tail.executions[execution_id])
            return brief(view) if is_brief else view
        return checked_view(execution_id, body, checksum, is_brief=is_brief)


def _without_large_body(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Leave out a body that would take as much memory again in the temporary table, which never returns it."""
    *columns, body, _ = row
    return row if len(body) <= LARGE_BYTES else (*columns, b"", seal(columns[0], b""))


def open_reader(path: Path) -> Reader:
    """Open a connection that reads beside the writer, in this process or in another."""
    reader = connect(path, "ro", Reader)
    reader.execute("PRAGMA temp_store = MEMORY")
    for statement in _UNFLUSHED:
        reader.execute(statement)
    return reader
