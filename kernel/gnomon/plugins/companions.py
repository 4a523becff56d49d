"""The plugins of a process that live everywhere: they outlive the terms of the kernel in it, and miss no event."""

from __future__ import annotations

from gnomon.plugins.dispatcher import Dispatcher

BLOCK = 1_000
"""Events that are read at once where a change of role has left a gap."""


class Companions(Dispatcher):
    """The subscribers of the plugins with the role `everywhere`.

    The part of the kernel that has the log offers its events: one that leads what it commits, and one that follows what
    it reads. At each change of role `catch_up` offers what lies between.
    """

    role = "everywhere"
    _is_started = False

    async def start(self, since: int, head: int) -> None:
        """Start the plugins, unless they have been started before."""
        if self._is_started:
            return
        self._is_started = True
        await super().start(since, head)

    async def catch_up(self, head: int) -> None:
        """Offer what the log has up to `head` and they have not been offered."""
        while self._is_started and self.head < head:
            events = await self._store.read(self.head, BLOCK)
            if not events:  # the rest was pruned
                break
            self.publish(events)
