"""The documents that are written together: to the server, or to the spool until the server is back."""

from __future__ import annotations

import bson
import msgspec
from bson import CodecOptions

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.records import Checkpoint
from gnomon_mongo.documents.conversion import checkpoint_of, event_document, event_of, execution_of
from gnomon_mongo.drivers import Document
from gnomon_shared_log.ports.batch import BatchCodec, EventIdentity

_CODEC = CodecOptions[Document](tz_aware=True)
_IDENTITY = ("_id", "stream", "version", "node", "at")


def identity(event: Document) -> Document:
    """Return the fields by which an event is recognized."""
    return {name: event[name] for name in _IDENTITY}


def encode_identity(event: Document) -> EventIdentity:
    """Return the identity of an event."""
    return EventIdentity(event["_id"], event["stream"], bson.encode(identity(event)))


def decode_identity(found: EventIdentity) -> Document:
    """Return the fields by which an event is recognized, in an order that does not change."""
    return bson.decode(found.body, _CODEC)


class WriteBatch(msgspec.Struct):
    """The documents of one append, one checkpoint, or some log lines; several batches can be merged into one.

    `events` are ordered by position and without gaps; `after` identifies the event before the first one. Of each
    execution, job and checkpoint only the newest is kept.
    """

    events: list[Document] = msgspec.field(default_factory=list)
    after: Document | None = None
    executions: list[Document] = msgspec.field(default_factory=list)
    jobs: list[Document] = msgspec.field(default_factory=list)
    actions: list[Document] = msgspec.field(default_factory=list)
    checkpoints: list[Document] = msgspec.field(default_factory=list)
    lines: list[Document] = msgspec.field(default_factory=list)
    oldest_lines: dict[str, int] = msgspec.field(default_factory=dict)

    @property
    def first(self) -> int:
        """The lowest position in it, 0 without events."""
        return int(self.events[0]["_id"]) if self.events else 0

    @property
    def last(self) -> int:
        """The highest position in it, 0 without events."""
        return int(self.events[-1]["_id"]) if self.events else 0

    @property
    def event_count(self) -> int:
        """The number of events."""
        return len(self.events)

    @property
    def newest(self) -> EventIdentity:
        """The identity of the last event."""
        return encode_identity(self.events[-1])

    @property
    def has_only_events(self) -> bool:
        """Whether it has nothing but events."""
        return not any(getattr(self, name) for name in self.__struct_fields__ if name not in {"events", "after"})

    def follow(self, newest: EventIdentity | None, unfiled: int) -> None:
        """Note the event before the first one, and the first position whose views may not be filed."""
        self.after = decode_identity(newest) if newest is not None else None
        for event in self.events:
            event["batch"] = unfiled

    def without_events(self) -> WriteBatch:
        """Return a batch with everything but the events."""
        return msgspec.structs.replace(self, events=[], after=None)

    def events_after(self, position: int) -> list[Event]:
        """Return the events after this position."""
        return [event_of(event) for event in self.events if event["_id"] > position]

    def execution(self, execution_id: str) -> Execution | None:
        """Return the view of an execution, if it has one."""
        return next((execution_of(view) for view in self.executions if str(view["_id"]) == execution_id), None)

    def checkpoint(self, name: str) -> Checkpoint | None:
        """Return the checkpoint of this name, if it has one."""
        return next((checkpoint_of(found) for found in self.checkpoints if found["_id"] == name), None)

    def add(self, later: WriteBatch) -> None:
        """Append a later batch; its views replace the older ones."""
        if not self.events:
            self.after = later.after
        self.events += later.events
        self.executions = _newest(self.executions, later.executions)
        self.jobs = _newest(self.jobs, later.jobs)
        self.actions += later.actions
        self.checkpoints = _newest(self.checkpoints, later.checkpoints)
        self.lines += later.lines
        self.oldest_lines |= later.oldest_lines


class DocumentCodec(BatchCodec[WriteBatch]):
    """Encodes batches as BSON."""

    def empty(self) -> WriteBatch:
        return WriteBatch()

    def encode(self, batch: WriteBatch) -> bytes:
        return bson.encode({name: getattr(batch, name) for name in batch.__struct_fields__})

    def decode(self, body: bytes) -> WriteBatch:
        return WriteBatch(**bson.decode(body, _CODEC))

    def encode_executions(self, batch: WriteBatch) -> list[tuple[str, bytes]]:
        return [(str(view["_id"]), bson.encode(view)) for view in batch.executions]

    def decode_execution(self, body: bytes) -> Execution:
        return execution_of(bson.decode(body, _CODEC))

    def identity_of(self, event: Event) -> EventIdentity:
        return encode_identity(event_document(event, event.position))

    def decode_identity(self, body: bytes) -> EventIdentity:
        found = bson.decode(body, _CODEC)
        return EventIdentity(found["_id"], found["stream"], body)


def _newest(older: list[Document], newer: list[Document]) -> list[Document]:
    return list(
        ({document["_id"]: document for document in older} | {document["_id"]: document for document in newer}).values()
    )
