"""Events for tests of outages, and how they are appended to a store whose server may be away."""

from __future__ import annotations

from gnomon.domain import execution
from gnomon.domain.events import Event
from gnomon.ports import Store
from gnomon.testing.histories import NOON, SECOND, numbered, succeeded


def run(number: int, after: int) -> list[Event]:
    """Return the three events of a run, whose number tells it from others, behind a position."""
    return numbered(succeeded("sync", NOON + number * SECOND), after=after)


async def keep(store: Store, *batches: list[Event]) -> None:
    """Append without asking the store for anything before, as the journal does."""
    for batch in batches:
        streams = {event.stream: [one for one in batch if one.stream == event.stream] for event in batch}
        await store.append(batch, [execution.fold(history) for history in streams.values()], [])
