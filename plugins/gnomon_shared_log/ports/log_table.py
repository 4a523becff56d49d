"""What a server does with the events of a log, for the kernel that leads."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

from gnomon_shared_log.ports.batch import Batch, EventIdentity
from gnomon_shared_log.ports.lease_row import Term

B_contra = TypeVar("B_contra", bound=Batch, contravariant=True)


class LogEnd(msgspec.Struct, frozen=True):
    """Where a log ends: the highest position ever assigned, and the event there, None if that was pruned."""

    head: int
    newest: EventIdentity | None


class LogTable(Protocol[B_contra]):
    """Writes batches. Every method is idempotent: after an answer that is lost, it is called again.

    StoreUnavailableError where trying again may help: then what was written may be there, or may still arrive. Refusal
    (errors.py) where the server is up and rejects it. `limit_s` limits one call, and defaults to the `timeout` of the
    store.
    """

    async def write_events(self, batch: B_contra, term: Term, limit_s: float | None = None) -> None:
        """Write the events of a batch in this term; durable when it returns.

        All in one atomic step, or in several, the later positions later. What is there already, event for event, is
        kept. DeposedError if the log is not open to this term; StoreUnavailableError if it is open to a later one of
        the same owner, which then repeats it. LostEventsError if the event that the batch follows is not there.
        ConflictError if the log has another event at one of the places; nothing at or after that is written.
        """

    async def write_rest(self, batch: B_contra, limit_s: float | None = None) -> None:
        """Write everything but the events: newer views in place of older ones, checkpoints, and log lines.

        A view that is older than the stored one changes nothing, so the order of two calls does not matter.
        """

    async def read_head(self) -> int:
        """Return the highest position ever assigned."""

    async def check_event(self, identity: EventIdentity) -> None:
        """Raise LostEventsError, with the newest position as `found`, if the log has lost this event.

        It has not if retention has deleted it: then later positions are assigned, and there is no other event.
        """

    async def check_views(self) -> None:
        """Raise LostEventsError where views are filed that follow from later events than the log has.

        Nothing is compared where the server does not have the position up to which they are filed.
        """
