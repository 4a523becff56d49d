"""What a database lacks of what this machine knows of the log.

The newest event that was acknowledged to a kernel of this machine is known from the mark beside the spool. A process
that follows knows the newest one that it has read, and puts it into the mark before it leads. A start compares the mark
with the log, and so do readers, and the check before a start, which open no spool.
"""

from __future__ import annotations

from pathlib import Path

from gnomon.domain.rollback import Loss, Rollback
from gnomon_shared_log.errors import LostEventsError
from gnomon_shared_log.ports.batch import B, EventIdentity
from gnomon_shared_log.ports.server_log import ServerLog
from gnomon_shared_log.writing.newest_mark import Marked, NewestMark


def read_mark(spool: Path) -> Marked | None:
    """Return what the mark beside a spool knows; None where there is none, or the spool was moved away from it."""
    return NewestMark(spool).find() if spool.exists() else None


async def find_lost(server_log: ServerLog[B], newest: EventIdentity | None) -> LostEventsError | None:
    """Return what the log has lost of what it had up to this event, or as its views say; None for nothing."""
    found: list[LostEventsError] = []
    checks = [server_log.events.check_views(), *([server_log.events.check_event(newest)] if newest is not None else [])]
    for check in checks:
        try:
            await check
        except LostEventsError as exc:
            found.append(exc)
    return max(found, key=lambda lost: lost.expected, default=None)


def replaced(log_name: str, newest: EventIdentity, spool: Path) -> Loss:
    """Return the loss of a log that ended with this event, and in whose place there is an empty one, or none."""
    return Loss(
        Rollback(0, newest.position),
        f"{log_name} is empty, and had another log, with events up to {newest.position}: its database was dropped "
        f"and created again, or is another one by now; restore a backup, or rename the spool {spool} to begin a new "
        "log, in which runs may run again",
    )
