"""A server that is up, and too slow for what waits: the appends become smaller until it confirms them in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gnomon.domain.events import Event
from gnomon.errors import StoreUnavailableError
from gnomon.testing.histories import NOON, SECOND, numbered, scheduled
from gnomon_mongo import MongoStore
from gnomon_mongo.log import event_append, operations

MOST_IN_TIME = 20


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Confirm no call in time that appends more than MOST_IN_TIME events, and list how many each appends."""
    found: list[int] = []
    append = event_append.append_events

    async def slow(server: Any, events: Any, *args: Any) -> None:
        found.append(len(events))
        if len(events) > MOST_IN_TIME:
            raise StoreUnavailableError("the server does not respond in time")
        await append(server, events, *args)

    monkeypatch.setattr(operations, "append_events", slow)
    return found


def many(count: int, after: int) -> list[Event]:
    return numbered(*(scheduled(at=NOON + n * SECOND) for n in range(after, after + count)), after=after)


async def attempts_for(store: MongoStore, events: list[Event]) -> int:
    """Append as the journal does, again and again."""
    for attempt in range(1, 6):
        try:
            await store.append(events, [], [])
        except StoreUnavailableError:
            pass
        else:
            return attempt
    pytest.fail("the events were never appended")


async def test_a_backlog_is_appended_in_calls_that_the_server_confirms_in_time(
    make_store: Callable[..., MongoStore], calls: list[int]
) -> None:
    store = make_store()
    await store.open()
    calls.clear()

    assert await attempts_for(store, many(100, 0)) == 3
    assert calls == [100, 25, *[8] * 12, 4]
    assert [event.position for event in await store.read(limit=1000)] == list(range(1, 101))
    calls.clear()
    for done in range(100, 400, 20):
        assert await attempts_for(store, many(20, done)) == 1
    assert calls[:4] == [16, 4, 20, 20]  # and it has room for more again
