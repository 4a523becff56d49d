"""Ends of runs that this kernel could not append: kept in its spool, then handed to the kernel that leads.

A kernel that is cut off from the server still has bodies that end. Their ends are kept durably, but are not part of the
log yet. If the kernel reaches the server again and still leads, it appends them as usual. Otherwise they go to the
`LateEndTable` of the server, from where the leader records them: as the end of a run that has none, else as a
`late_result` (engine/late_ends.py of the kernel).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from gnomon.domain import codec
from gnomon.domain.events import Cancelled, Event, Failed, LateResult, Succeeded
from gnomon.errors import StoreError
from gnomon.logs import get_logger
from gnomon_shared_log.ports.batch import B
from gnomon_shared_log.ports.late_end_table import LateEndTable
from gnomon_shared_log.ports.server_log import ServerLog
from gnomon_shared_log.writing.spool import Spool
from gnomon_shared_log.writing.spool_choice import existing_spools

log = get_logger("gnomon.shared_log")

ENDS = Succeeded | Failed | Cancelled | LateResult


class KeptEnds:
    """The ends in the spool of this kernel."""

    def __init__(self, table: LateEndTable, spool: Spool[B]) -> None:
        self._table = table
        self._spool = spool
        self._kept: set[tuple[str, int]] = set()

    async def keep(self, found: Iterable[Event]) -> None:
        """Keep the ends among these events; durable when it returns."""
        new = [event for event in found if _is_end(event) and (event.stream, event.version) not in self._kept]
        if new:
            await self._spool.put_ends([(event.stream, event.version, codec.encode(event)) for event in new])
            self._kept |= {(event.stream, event.version) for event in new}

    async def clear(self) -> None:
        """Forget the ends, which have been appended."""
        if self._kept:
            await self._spool.drop_ends()
            self._kept.clear()

    async def hand_over(self) -> None:
        """Move the ends from the spool to the server, for the kernel that leads."""
        if ends := await self._spool.ends():
            await self.send([codec.decode(body) for _, _, body in ends])
            await self._spool.drop_ends()
            self._kept.clear()

    async def send(self, found: Sequence[Event]) -> None:
        """Send the ends among these events to the server."""
        if ends := [event for event in found if _is_end(event)]:
            await self._table.add(ends)
            log.warning("ends of runs that could not be appended are handed to the leader", ends=len(ends))


async def hand_over_left(server: ServerLog[B], path: Path) -> None:
    """Move what earlier kernels with this spool could not append to the server, as far as that is possible now."""
    for spool in (Spool(found, server.codec) for found in existing_spools(path)):
        with suppress(StoreError):  # another kernel uses the spool, or the server is down: the next start tries again
            try:
                await spool.open()
                await KeptEnds(server.late_ends, spool).hand_over()
            finally:
                await spool.close()


def _is_end(event: Event) -> bool:
    """Whether the event is the end of a run whose body has begun."""
    return isinstance(event, ENDS) and event.execution_time is not None
