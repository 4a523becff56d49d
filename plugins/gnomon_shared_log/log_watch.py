"""The watch of a follower over the log: events that were appended, and the row of the leader.

Where the server reports changes, it reports both: an idle follower sends few requests. Elsewhere it looks 5 times a
second, for both at once.
"""

from __future__ import annotations

from gnomon.ticks import next_tick
from gnomon_shared_log.change_feed import ChangeFeed
from gnomon_shared_log.lease.lease_watch import LOOK_S, LeaseWatch
from gnomon_shared_log.ports.changes import Appended, Change, ChangeSource, Renewed, Replaced


class LogWatch:
    """Waits for events, and notes in `lease` what it sees of the row meanwhile."""

    def __init__(self, source: ChangeSource, lease: LeaseWatch) -> None:
        self.feed = ChangeFeed(source, "log", self._receive)
        self._source = source
        self._lease = lease
        self._turns = self.feed.turns_of(lambda _: True)
        self._newest = self._followed = 0

    async def wait(self, after: int) -> None:
        """Return when there may be events after this position."""
        with self.feed.used(), self._lease.fed():
            while not (stream := self.feed.stream):
                await next_tick(LOOK_S)
                if await self._has_events(after):
                    return
            if self._followed != stream:  # what came before it is not in it
                self._followed = stream
                if await self._has_events(after):
                    return
            while self._newest <= after and self.feed.stream == stream:
                await self._turns.after(self._turns.count)

    async def _has_events(self, after: int) -> bool:
        """Return whether there is an event after this position; note the row of the leader."""
        found = await self._source.look(after)
        self._lease.note(found.row)
        return found.has_events

    def _receive(self, change: Change) -> None:
        match change:
            case Appended(position):
                self._newest = max(self._newest, position)
            case Renewed(fields):
                self._lease.note_renewal(fields)
            case Replaced():
                self._lease.forget()
