"""A log with a detector beside it, as the plugin has them: what is due is recorded, and a kill loses what is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from gnomon import AlertOpened, AlertRepeated, AlertResolved, Event
from gnomon.testing.histories import NOON
from gnomon.wire.alerts import Alert
from gnomon_alerts.checkpoint import from_checkpoint, to_checkpoint
from gnomon_alerts.detector import Detector
from gnomon_alerts.recorder import record
from gnomon_alerts.rules import Rule, Rules


class SimulatedLog:
    """The log, its detector, and the newest checkpoint."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.events: list[Event] = []
        self.now = NOON
        self.rules = rules
        self.detector = Detector(Rules(rules))
        self.saved: Any = None

    async def add(self, events: Iterable[Event], *, records: bool = True) -> None:
        """Append events, at their own times, and record what they lead to."""
        for event in events:
            self.now = max(self.now, event.at)
            self._append(event)
            self.detector.fold(self.events[-1:])
            if records:
                await self.record()

    async def look(self, after: timedelta) -> None:
        """Move the clock, and decide what the time decides."""
        self.now += after
        self.detector.look(self.now)
        await self.record()

    async def record(self) -> None:
        """Record what is due, and read it back."""
        await record(self, self.detector.due(self.now), self.detector.state.book)  # type: ignore[arg-type]
        self.detector.fold(self.events)

    async def record_fact(self, fact: type[Event], /, **facts: Any) -> int:
        """Append a fact, as the kernel does."""
        header: dict[str, Any] = {"stream": "kernel:k", "version": len(self.events) + 1, "at": self.now, "node": "n"}
        self._append(fact(**header, **facts))
        return len(self.events)

    def save(self) -> None:
        """Keep a checkpoint."""
        self.saved = to_checkpoint(self.detector.state)

    def kill(self) -> None:
        """Begin again from the checkpoint and the log, as the next kernel does."""
        state = from_checkpoint(self.saved, len(self.events)) if self.saved is not None else None
        self.detector = Detector(Rules(self.rules), state)
        self.detector.fold(self.events)

    @property
    def alerts(self) -> list[Alert]:
        """All alerts in the book."""
        return list(self.detector.state.book.alerts.values())

    @property
    def open(self) -> list[Alert]:
        """The alerts that have not ended."""
        return list(self.detector.state.book.open())

    def of(self, fact: type[Event]) -> list[Any]:
        """The events of a type."""
        return [event for event in self.events if type(event) is fact]

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many alerts were opened, repeated and resolved."""
        return len(self.of(AlertOpened)), len(self.of(AlertRepeated)), len(self.of(AlertResolved))

    def _append(self, event: Event) -> None:
        self.events.append(msgspec.structs.replace(event, position=len(self.events) + 1))
