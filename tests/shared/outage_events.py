"""What tests of outages need: events, appends to a store whose server may be away, and a store that looks often."""

from __future__ import annotations

import pytest

from gnomon.domain import execution
from gnomon.domain.events import Event
from gnomon.ports import Store
from gnomon.testing.histories import NOON, SECOND, numbered, succeeded
from gnomon_shared_log import shared_log
from gnomon_shared_log.writing import spooling_writer, view_filer


def run(number: int, after: int) -> list[Event]:
    """Return the three events of a run, whose number tells it from others, behind a position."""
    return numbered(succeeded("sync", NOON + number * SECOND), after=after)


async def keep(store: Store, *batches: list[Event]) -> None:
    """Append without asking the store for anything before, as the journal does."""
    for batch in batches:
        streams = {event.stream: [one for one in batch if one.stream == event.stream] for event in batch}
        await store.append(batch, [execution.fold(history) for history in streams.values()], [])


def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find a server that is back within moments, and wait half a second, not five, for one that is gone at the end."""
    for module in (spooling_writer, view_filer):
        monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(spooling_writer, "FINISH_LIMIT_S", 0.5)
    monkeypatch.setattr(shared_log, "RELEASE_LIMIT_S", 0.5)
