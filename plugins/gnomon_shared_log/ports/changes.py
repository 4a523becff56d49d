"""What a server reports of a log to those who wait for something new."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from gnomon_shared_log.ports.lease_row import LeaseRow


class Appended(msgspec.Struct, frozen=True):
    """Events up to this position, or beyond it, were appended."""

    position: int


class Renewed(msgspec.Struct, frozen=True):
    """The holder has renewed its row: these fields of it are changed. They include its `mark`, except for the owner."""

    fields: Mapping[str, Any]


class Replaced(msgspec.Struct, frozen=True):
    """The row of the leader was released, or is that of another term: it has to be read."""


class Placed(msgspec.Struct, frozen=True):
    """An order was placed; `in_transaction` by an application, with what else it has changed."""

    in_transaction: bool = False


Change: TypeAlias = Appended | Renewed | Replaced | Placed
Topic: TypeAlias = Literal["log", "orders"]
"""What is reported: of the log and its leader, or placed orders."""
NextChange: TypeAlias = Callable[[], Awaitable[Change | None]]


class Look(msgspec.Struct, frozen=True):
    """What one look at a log has found: the row of the leader, and whether there are events after a position."""

    row: LeaseRow | None
    has_events: bool


class ChangeSource(Protocol):
    """Reports changes of one log. They only wake: where there are none, the log is looked at several times a second."""

    def changes(self, topic: Topic, await_s: float) -> AbstractAsyncContextManager[NextChange]:
        """Yield a function that returns the next change, or None where there is none for `await_s`.

        From the moment in which the block is entered no change is left out, and a function that waits holds up no other
        call. StoreError where the server reports none, or reports them late; the function raises one when the
        connection is lost.
        """

    async def look(self, after: int) -> Look:
        """Read the row of the leader, and whether there are events after this position: in one request, if possible."""
