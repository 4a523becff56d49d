"""What a log has lost, and whether an operator accepted that."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Rollback(msgspec.Struct, frozen=True):
    """What a log that went back has lost: the events after `last`, up to `expected` unless that is not known."""

    last: int
    expected: int

    @property
    def words(self) -> str:
        """What was lost, in words."""
        return f"the log had {self.lost}"

    @property
    def lost(self) -> str:
        """The same words without their subject."""
        if self.expected > self.last:
            return f"lost events {self.last + 1} to {self.expected}"
        return f"lost events after {self.last}, or was another log"


class Loss(NamedTuple):
    """A rollback that nobody has accepted, and the message with which a kernel refuses to start."""

    rollback: Rollback
    refusal: str
