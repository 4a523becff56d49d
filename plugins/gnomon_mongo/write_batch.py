"""The documents that are written together: to the server, or to the spool until the server is back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import msgspec

from gnomon.errors import ConflictError, StoreError
from gnomon_mongo.drivers import Document


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
    def last(self) -> int:
        """The highest position in it, 0 without events."""
        return int(self.events[-1]["_id"]) if self.events else 0

    @property
    def has_no_views(self) -> bool:
        """Whether it has nothing but events."""
        return not any(getattr(self, name) for name in self.__struct_fields__ if name not in {"events", "after"})

    def without_events(self) -> WriteBatch:
        """Return a batch with everything but the events."""
        return msgspec.structs.replace(self, events=[], after=None)

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

    def to_document(self) -> Document:
        """Encode it for the spool."""
        return {name: getattr(self, name) for name in self.__struct_fields__}

    @classmethod
    def of_document(cls, document: Document) -> Self:
        """Decode what `to_document` returned."""
        return cls(**document)


def _newest(older: list[Document], newer: list[Document]) -> list[Document]:
    return list(
        ({document["_id"]: document for document in older} | {document["_id"]: document for document in newer}).values()
    )


def check_places(events: Sequence[dict[str, object]], head: int, *, has_gaps: bool = False) -> None:
    """Raise an error for a batch whose places are taken, also by pruned events, or that would leave a gap."""
    new: set[tuple[object, object]] = set()
    position = head + 1
    for event in events:
        stream, version, found = str(event["stream"]), int(str(event["version"])), int(str(event["_id"]))
        if found < position or (stream, version) in new:
            raise ConflictError(stream, version, found)
        if found > position and not has_gaps:
            raise StoreError(f"event {found} would leave a gap in the log: the next is {position}")
        new.add((stream, version))
        position = found + 1
