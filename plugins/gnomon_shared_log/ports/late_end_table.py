"""Ends of runs for the kernel that leads, from kernels that could not append them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gnomon.domain.events import Event


class LateEndTable(Protocol):
    """Keeps ends until the leader has recorded them; each has one place, which its stream and version name.

    Written without a term: by kernels that do not lead any more.
    """

    async def add(self, ends: Sequence[Event]) -> None:
        """Keep ends, in place of those of the same stream and version; durable when it returns. Repeatable."""

    async def read(self) -> list[Event]:
        """Return the oldest of them in the order in which they came, some hundred at most."""

    async def delete(self, ends: Sequence[Event]) -> None:
        """Delete ends, which have been recorded."""
