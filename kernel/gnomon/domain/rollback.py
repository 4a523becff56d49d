"""What a log has lost, where an operator accepted that."""

from __future__ import annotations

import msgspec


class Rollback(msgspec.Struct, frozen=True):
    """What a log that went back has lost: the events after `last`, up to `expected` unless that is not known."""

    last: int
    expected: int

    @property
    def words(self) -> str:
        """What was lost, in words."""
        if self.expected > self.last:
            return f"the log had lost events {self.last + 1} to {self.expected}"
        return f"the log had lost events after {self.last}, or was another log"
