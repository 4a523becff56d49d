"""The end of the log, which is not filed yet: each reader folds it for itself, and goes on from where it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from gnomon.domain import execution, job_state
from gnomon.domain.events import Event, JobEvent
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.errors import TransitionError
from gnomon_sqlite import commits, database
from gnomon_sqlite.commits import End
from gnomon_sqlite.database import insert
from gnomon_sqlite.filing import REPLACE_VIEW, VIEW, Unfiled, filed_jobs, row_of, view_of

_encode = msgspec.json.Encoder().encode
_GOING = "SELECT body FROM live WHERE id IN (SELECT value FROM json_each(?))"
_OVER = "SELECT id FROM executions WHERE id IN (SELECT value FROM json_each(?))"
_UNFILED = (
    f"CREATE TEMP TABLE tail ({database.VIEW_COLUMNS})",
    f"""CREATE TEMP VIEW unfiled AS SELECT {VIEW} FROM temp.tail
        UNION ALL SELECT {VIEW} FROM main.live WHERE id NOT IN (SELECT id FROM temp.tail)""",  # noqa: S608 - ours
)


class Tail:
    """Folds the events after those that are filed, by the same fold as everybody: the log is the only truth."""

    def __init__(self) -> None:
        self.filed = self.head = -1
        self.ends: dict[str, End] = {}
        self.executions: dict[str, Execution] = {}
        self._of_jobs: list[Event] = []
        self._over: set[str] = set()

    def follow(self, connection: sqlite3.Connection) -> set[str]:
        """Fold what has come since the last call; returns the executions that it is about. Call it in a transaction."""
        (filed,) = connection.execute("SELECT position FROM filed").fetchone()
        if filed != self.filed:
            self.filed = self.head = filed
            for known in (self.ends, self.executions, self._of_jobs, self._over):
                known.clear()
        events = commits.read_rows(connection, self.head)
        if not events:
            return set()
        self._load({event.stream for event in events if event.version > 1}, connection)
        changed = {event.stream for event in events if self._fold(event)}
        self.head = events[-1].position
        return changed

    def tell(self, states: dict[str, JobState]) -> None:
        """Fold into states of jobs, as they are filed, what is not filed of them."""
        for event in self._of_jobs:
            if (state := states.get(event.job_id)) is not None:
                state.apply(event)
            elif isinstance(event, JobEvent):
                states[event.job_id] = job_state.begin(event)

    @property
    def jobs(self) -> frozenset[str]:
        """The jobs of which there is something to tell."""
        return frozenset(event.job_id for event in self._of_jobs)

    def _load(self, streams: Iterable[str], connection: sqlite3.Connection) -> None:
        """Learn what is filed of streams that began before."""
        begun = _encode([stream for stream in streams if stream not in self.ends]).decode()
        for (body,) in connection.execute(_GOING, (begun,)).fetchall():
            view = view_of(body)
            self.executions[view.id] = view
        self._over.update(stream for (stream,) in connection.execute(_OVER, (begun,)).fetchall())

    def _fold(self, event: Event) -> bool:
        """Take one event in; False where it changes no execution that is not filed."""
        stream, view = event.stream, self.executions.get(event.stream)
        if stream in self._over:
            return False  # what comes after the end of a run that is filed is written there at once
        self.ends[stream] = (event.version, event.position)
        if event.version == 1 or view is None:
            self._of_jobs.append(event)
        try:
            if view is not None:
                view.apply(event)
            elif isinstance(event, JobEvent):
                return False
            else:
                self.executions[stream] = execution.begin(event)
        except TransitionError:
            return False  # from another version, or damaged: nobody may be kept from reading the rest
        return True


def unfiled(connection: sqlite3.Connection) -> Unfiled:
    """Fold what a writer that is gone has not filed."""
    tail, found = Tail(), Unfiled()
    tail.follow(connection)
    found.events = tail.head - tail.filed
    found.ends, found.executions = tail.ends, tail.executions
    if tail.jobs:  # of 100,000 jobs most have nothing to tell, and mostly none has
        states = filed_jobs(connection)
        tail.tell(states)
        found.jobs = {job_id: states[job_id] for job_id in tail.jobs if job_id in states}
    return found


class Reader(sqlite3.Connection):
    """A connection that can only read; what is not filed is in its view `unfiled`, as of the last `catch_up`."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.tail = Tail()

    def catch_up(self) -> None:
        """Bring `unfiled` to the head of the log as this transaction sees it."""
        tail, filed = self.tail, self.tail.filed
        try:
            changed = tail.follow(self)
            if tail.filed != filed:
                self.execute("DELETE FROM temp.tail")
            rows = [row_of(tail.executions[stream], tail.ends[stream]) for stream in changed]
            insert(self, f"INTO temp.tail ({VIEW})", rows, REPLACE_VIEW)
        except BaseException:
            self.tail = Tail()  # the table may have less than it
            raise


def open_reader(path: Path) -> Reader:
    """Open a connection that reads beside the writer, in this process or in another."""
    reader = database.connect(path, "ro", Reader)
    reader.execute("PRAGMA temp_store = MEMORY")
    for statement in _UNFILED:
        reader.execute(statement)
    return reader
