"""What is written together: events and what follows from them, checkpoints, and log lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import msgspec

from gnomon.domain import codec
from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.domain.records import Checkpoint, LogLine
from gnomon_postgres.views.view_batch import ViewBatch
from gnomon_shared_log.ports.batch import EventIdentity

_encode = msgspec.json.Encoder().encode
_decode_execution = msgspec.json.Decoder(Execution).decode


class WriteBatch:
    """Implements Batch of gnomon_shared_log. Lines are kept by run and number, encoded.

    Events with `has_gaps` are those of another log, from which some were deleted.
    """

    def __init__(
        self,
        events: Sequence[Event] = (),
        views: ViewBatch | None = None,
        checkpoints: dict[str, Checkpoint] | None = None,
        lines: dict[str, dict[int, bytes]] | None = None,
        oldest_lines: dict[str, int] | None = None,
        *,
        has_gaps: bool = False,
    ) -> None:
        self.events = events
        self.has_gaps = has_gaps
        self.views = views if views is not None else ViewBatch()
        self.checkpoints = checkpoints if checkpoints is not None else {}
        self.lines = lines if lines is not None else {}
        self.oldest_lines = oldest_lines if oldest_lines is not None else {}

    @classmethod
    def of_append(cls, events: Sequence[Event], executions: Iterable[Execution], jobs: Iterable[JobState]) -> Self:
        """Return what an append writes."""
        return cls(events, ViewBatch.of(events, executions, jobs))

    @classmethod
    def of_restore(cls, events: Sequence[Event], executions: Iterable[Execution]) -> Self:
        """Return a part of another log; the states of its jobs follow by themselves."""
        return cls(events, ViewBatch.of(events, executions, ()), has_gaps=True)

    @classmethod
    def of_jobs(cls, jobs: Iterable[JobState]) -> Self:
        """Return the states of jobs, which replace the stored ones whether or not there are events."""
        return cls(views=ViewBatch(jobs={state.job_id: state for state in jobs}))

    @classmethod
    def of_lines(cls, execution_id: str, lines: Sequence[LogLine], oldest: int) -> Self:
        """Return log lines of a run, of which the ones below `oldest` are deleted."""
        kept = {line.number: _encode(line) for line in lines if line.number >= oldest}
        return cls(lines={execution_id: kept}, oldest_lines={execution_id: oldest} if oldest > 1 else {})

    @property
    def first(self) -> int:
        """The lowest position in it, 0 without events."""
        return self.events[0].position if self.events else 0

    @property
    def last(self) -> int:
        """The highest position in it, 0 without events."""
        return self.events[-1].position if self.events else 0

    @property
    def event_count(self) -> int:
        """The number of events."""
        return len(self.events)

    @property
    def newest(self) -> EventIdentity:
        """The identity of the last event."""
        return identity_of(self.events[-1])

    @property
    def has_only_events(self) -> bool:
        """Whether it has nothing but events: never, because filing moves the position up to which views are filed."""
        return False

    def follow(self, newest: EventIdentity | None, unfiled: int) -> None:
        """Ignore both: the log knows its newest row, and the position up to which views are filed."""

    def without_events(self) -> WriteBatch:
        """Return a batch with everything but the events."""
        return WriteBatch((), self.views, self.checkpoints, self.lines, self.oldest_lines)

    def add(self, later: WriteBatch) -> None:
        """Append a later batch; its views replace the older ones."""
        self.events = [*self.events, *later.events]
        self.has_gaps |= later.has_gaps
        self.views.add(later.views)
        for name, checkpoint in later.checkpoints.items():
            if name not in self.checkpoints or self.checkpoints[name].position <= checkpoint.position:
                self.checkpoints[name] = checkpoint
        for execution_id, lines in later.lines.items():
            self.lines[execution_id] = self.lines.get(execution_id, {}) | lines
        for execution_id, oldest in later.oldest_lines.items():
            self.oldest_lines[execution_id] = max(oldest, self.oldest_lines.get(execution_id, 1))

    def events_after(self, position: int) -> list[Event]:
        """Return the events after this position."""
        return [event for event in self.events if event.position > position]

    def execution(self, execution_id: str) -> Execution | None:
        """Return the view of an execution, if it has one."""
        return self.views.executions.get(execution_id)

    def checkpoint(self, name: str) -> Checkpoint | None:
        """Return the checkpoint of this name, if it has one."""
        return self.checkpoints.get(name)


def identity_of(event: Event) -> EventIdentity:
    """Return what tells an event from another one at its position."""
    facts = event.position, event.stream, event.version, event.node, event.at
    return EventIdentity(event.position, event.stream, _encode(facts))


class _Spooled(msgspec.Struct):
    """A batch in the spool."""

    events: msgspec.Raw
    views: ViewBatch
    checkpoints: dict[str, Checkpoint]
    lines: dict[str, dict[int, bytes]]
    oldest_lines: dict[str, int]
    has_gaps: bool = False


class BatchCodec:
    """Implements BatchCodec of gnomon_shared_log: JSON."""

    def empty(self) -> WriteBatch:
        """Return a batch without content."""
        return WriteBatch()

    def encode(self, batch: WriteBatch) -> bytes:
        """Encode a batch."""
        events = msgspec.Raw(codec.encode_all(batch.events))
        records = batch.checkpoints, batch.lines, batch.oldest_lines
        return _encode(_Spooled(events, batch.views, *records, batch.has_gaps))

    def decode(self, body: bytes) -> WriteBatch:
        """Decode what `encode` returned."""
        found = msgspec.json.decode(body, type=_Spooled)
        events = [event for event in codec.decode_all(bytes(found.events)) if event is not None]
        records = found.checkpoints, found.lines, found.oldest_lines
        return WriteBatch(events, found.views, *records, has_gaps=found.has_gaps)

    def encode_executions(self, batch: WriteBatch) -> list[tuple[str, bytes]]:
        """Encode the views of executions, with their ids."""
        return [(view.id, _encode(view)) for view in batch.views.executions.values()]

    def decode_execution(self, body: bytes) -> Execution:
        """Decode one of them."""
        return _decode_execution(body)

    def identity_of(self, event: Event) -> EventIdentity:
        """Return the identity of an event."""
        return identity_of(event)

    def decode_identity(self, body: bytes) -> EventIdentity:
        """Return the identity with this `body`."""
        position, stream, *_ = msgspec.json.decode(body)
        return EventIdentity(position, stream, body)
