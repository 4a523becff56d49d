"""The row of the leader: what is in it, and what a server does with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, Protocol, TypeAlias

import msgspec

CutOff: TypeAlias = Literal["hold", "run"]
"""What a kernel does that is cut off from the server: no runs are started, or the jobs go on (spooling_writer.py)."""

_LONG_AGO = datetime.fromtimestamp(0, UTC)


class Term(msgspec.Struct, frozen=True):
    """One win of one owner: a random text that a process draws when it campaigns, and a number that only rises."""

    owner: str
    epoch: int


class LeaseRow(msgspec.Struct, frozen=True):
    """The row of the leader. The defaults are for rows of earlier versions, in which a field is missing.

    `renewals` rises with every change, and `seconds` is how long the term lasts without one. `renewed` and `expires`
    are for people: no other machine compares them. `renewed_here` is on the lease clock, which only the processes of
    one machine share (lease_clock.py), and `place` says which machine that is (lease_holder.py). `started` tells a
    process from a later one with the same `pid`. `since` is the time of the win.
    """

    owner: str = ""
    epoch: int = 0
    renewals: int = 0
    seconds: float = 0.0
    cut_off: CutOff = "hold"
    node: str | None = None
    pid: int | None = None
    started: str | None = None
    place: str | None = None
    since: datetime | None = None
    renewed: datetime = _LONG_AGO
    expires: datetime = _LONG_AGO
    renewed_here: float | None = None

    @property
    def term(self) -> Term:
        """The term in which the row is."""
        return Term(self.owner, self.epoch)

    @property
    def mark(self) -> tuple[str, int, int]:
        """What changes with every renewal."""
        return self.owner, self.epoch, self.renewals


class LeaseTable(Protocol):
    """The row of the leader on one server, and the fence, which closes the log to appends of earlier terms.

    The fence may be the row itself. It keeps the newest epoch also while there is no row, and outlives a restart of the
    server. Each method is one atomic step, or is harmless when it is repeated after an interruption, and what it has
    changed is durable as an acknowledged event is. A server that is away, or too slow, raises StoreUnavailableError;
    then the step may have been done, and may still be done later. No method compares a time of one machine with that
    of another.
    """

    @property
    def log_name(self) -> str:
        """The log for messages, such as `MongoDB log 127.0.0.1:27017/gnomon`."""

    @property
    def where(self) -> str:
        """The collection or table of the row, for messages."""

    async def read(self) -> LeaseRow | None:
        """Return the row as every later reader sees it, or a newer one; None where nobody leads."""

    async def newest_epoch(self) -> int:
        """Return the newest epoch of the fence, 0 in a new log."""

    async def put(self, row: LeaseRow, seen: LeaseRow | None) -> LeaseRow | None:
        """Put a row of a new term in the place of the one that was seen, unless its `mark` has changed.

        Where none was seen, put it only where there is none. Return the row that is there then; None where it has to be
        read. The caller decides by what it reads back who owns it.
        """

    async def open_to(self, term: Term) -> None:
        """Open the log to appends of this term, which has the row, and close it to those of earlier terms.

        DeposedError if the log is open to a later one, or to another one of this epoch. Harmless when it is repeated.
        An append that is being executed meanwhile is either there when this returns, or fails.
        """

    async def change(self, term: Term, row: LeaseRow) -> bool:
        """Put a renewed row in the place of the one of this term, if that has no more `renewals` than the new one.

        Return whether it is there then, as the server returns it, and not by the number of rows that a driver reports.
        `row` is of this term or of the next epoch of its owner. A change that is sent again until it is confirmed
        changes nothing more, and one that the server executes late, after newer ones, does nothing.
        """

    async def delete(self, term: Term) -> None:
        """Delete the row of this term, if it is there."""

    async def end(self, seen: LeaseRow) -> None:
        """End the term of this row from outside: close the log to it, then delete the row, if it is of that term.

        The fence first: from then on the holder appends nothing, whether or not it still has its row. Afterwards the
        newest epoch is one in which nobody leads.
        """
