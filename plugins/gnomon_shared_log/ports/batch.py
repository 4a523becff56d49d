"""What is written together: to the server, or to the spool until the server is back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, TypeVar

import msgspec

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.records import Checkpoint
from gnomon.errors import ConflictError, StoreError


class EventIdentity(msgspec.Struct, frozen=True):
    """What tells an event of the log from another one at its position. Only the server's code reads `body`."""

    position: int
    stream: str
    body: bytes


class Batch(Protocol):
    """The content of one append, one checkpoint, or some log lines; several can be merged into one.

    Events are ordered by position, without gaps unless they come from another log (`Store.restore`). The views are
    those of executions and jobs, and operators' actions, as they are folded from the events; of each execution, job and
    checkpoint only the newest is kept.
    """

    @property
    def first(self) -> int:
        """The lowest position in it, 0 without events."""

    @property
    def last(self) -> int:
        """The highest position in it, 0 without events."""

    @property
    def event_count(self) -> int:
        """The number of events."""

    @property
    def newest(self) -> EventIdentity:
        """The identity of the last event; only asked of a batch with events."""

    @property
    def has_only_events(self) -> bool:
        """Whether it has nothing but events."""

    def follow(self, newest: EventIdentity | None, unfiled: int) -> None:
        """Note what the events follow: the event that must precede the first; None where it is not known.

        `unfiled` is the first position whose views may not be filed when these events are written, at most `first`; it
        is stored with them, and a start folds the views from there.
        """

    def without_events(self) -> Self:
        """Return a batch with everything but the events."""

    def add(self, later: Self) -> None:
        """Append a later batch; its views replace the older ones."""

    def events_after(self, position: int) -> list[Event]:
        """Return the events after this position."""

    def execution(self, execution_id: str) -> Execution | None:
        """Return the view of an execution, if it has one."""

    def checkpoint(self, name: str) -> Checkpoint | None:
        """Return the checkpoint of this name, if it has one."""


B = TypeVar("B", bound=Batch)


class BatchCodec(Protocol[B]):
    """Encodes batches for the spool. A later version has to decode them, too: what was spooled is drained by it."""

    def empty(self) -> B:
        """Return a batch without content, to add others to."""

    def encode(self, batch: B) -> bytes:
        """Encode a batch."""

    def decode(self, body: bytes) -> B:
        """Decode what `encode` returned."""

    def encode_executions(self, batch: B) -> list[tuple[str, bytes]]:
        """Encode the views of executions, with their ids, so that one can be read without the batch."""

    def decode_execution(self, body: bytes) -> Execution:
        """Decode one of them."""

    def identity_of(self, event: Event) -> EventIdentity:
        """Return what tells an event of the log from another one at its position."""

    def decode_identity(self, body: bytes) -> EventIdentity:
        """Return the identity with this `body`, which the spool keeps for the next start."""


def check_places(events: Sequence[Event], head: int, *, has_gaps: bool = False) -> None:
    """Raise an error for events whose places are taken, also by pruned events, or that would leave a gap."""
    new: set[tuple[str, int]] = set()
    position = head + 1
    for event in events:
        if event.position < position or (event.stream, event.version) in new:
            raise ConflictError(event.stream, event.version, event.position)
        if event.position > position and not has_gaps:
            raise StoreError(f"event {event.position} would leave a gap in the log: the next is {position}")
        new.add((event.stream, event.version))
        position = event.position + 1
