"""The plugin that `gnomon run` adds: it logs every event in one line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gnomon.cli.output.event_text import describe
from gnomon.domain import events
from gnomon.domain.events import Event
from gnomon.hookspecs import hookimpl
from gnomon.logs import get_logger

log = get_logger("gnomon.domain.events")


class ConsolePlugin:
    """Logs every event: ends and changes of step at level info or above, other progress at level debug.

    The kernel logs its own start, stop and clock itself. A process that follows logs no events: the leader does.
    """

    role = "leader"

    def __init__(self) -> None:
        self._steps: dict[str, str] = {}

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Begin with no steps: those of an earlier term are over."""
        self._steps.clear()
        yield

    @hookimpl
    def on_event(self, event: Event) -> None:
        """Log the event."""
        if isinstance(event, events.KernelEvent):
            return
        line = describe(event, self._steps.get(event.stream))
        if isinstance(event, events.Progress) and event.step is not None:
            self._steps[event.stream] = event.step
        elif isinstance(event, _ENDS):
            self._steps.pop(event.stream, None)
        getattr(log, line.level)(line.summary, **line.facts)


_ENDS = (events.Succeeded, events.Failed, events.Cancelled, events.Missed)
