"""Errors of a log on a server, beside those of the port."""

from __future__ import annotations

from pathlib import Path

from gnomon.domain.rollback import Rollback
from gnomon.errors import StoreError, StoreUnavailableError


class Refusal(StoreError):
    """The server is up and rejects this; a retry helps only after a change of permissions or of the database."""


class LostEventsError(StoreError):
    """The database has lost events that it had acknowledged; the one at the position `expected` is missing."""

    def __init__(self, log_name: str, expected: int, found: int) -> None:
        lost = (
            f"events {found + 1} to {expected} are missing" if found < expected else f"event {expected} is another one"
        )
        super().__init__(
            f"{log_name} has lost acknowledged events: {lost}, its newest event is {found}. It was probably "
            "restored from a backup or rolled back. Nothing is written on top of the gap: restore the missing events"
        )
        self.expected = expected
        self.found = found

    @property
    def rollback(self) -> Rollback:
        """The lost events, as a start that accepts their loss records them."""
        return Rollback(self.found, max(self.expected, self.found))


def cannot_start(exc: StoreUnavailableError, patience_s: float, spool: Path) -> StoreUnavailableError:
    """Return the error of a kernel that has waited in vain for its server."""
    kept = "; the events in the spool are kept" if spool.exists() else ""
    return StoreUnavailableError(
        f"{exc}; waited {patience_s:g} s for it. A kernel cannot start without its log, which says which jobs "
        f"are paused and what an earlier kernel left running{kept}"
    )
