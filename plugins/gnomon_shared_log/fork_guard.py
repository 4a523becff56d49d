"""Refuses what a forked child inherits: client, lease and spool are those of the parent."""

from __future__ import annotations

import os

from gnomon.errors import StoreError


class ForkGuard:
    """The process that has opened something."""

    def __init__(self) -> None:
        self._pid: int | None = None

    def enter(self) -> None:
        """Record that this process has opened it."""
        self._pid = os.getpid()

    def leave(self) -> None:
        """Record that it is closed."""
        self._pid = None

    @property
    def is_child(self) -> bool:
        """Whether another process has opened it, from which this one was forked."""
        return self._pid is not None and self._pid != os.getpid()

    def problem(self, log_name: str) -> str:
        """Return what is wrong in a child."""
        return (
            f"{log_name} was opened by process {self._pid}, of which process {os.getpid()} is a forked "
            "child: open one store in each process, after the fork"
        )

    def check(self, log_name: str) -> None:
        """Raise StoreError in a child."""
        if self.is_child:
            raise StoreError(self.problem(log_name))
