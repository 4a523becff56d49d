"""Rows of views that other programs delete or change: no event is linked to a wrong one, and a rebuild mends them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from gnomon.domain import events, execution
from gnomon.domain.events import Event, ExecutionEvent
from gnomon.errors import StoreUnavailableError
from gnomon.testing.histories import append, extend, job_added, job_states, kernel_history, numbered, running
from gnomon_postgres import PostgresStore
from log_places import patient

JOB, RUN = job_added(), running("report")
PAUSED = extend(JOB, events.JobPaused, actor="ann")
ENDED = extend(RUN, events.Succeeded, execution_time=2.5)
HARM = [
    ("TRUNCATE gnomon.streams", PAUSED),
    ("DELETE FROM gnomon.streams WHERE name = 'job:sync'", PAUSED),
    ("UPDATE gnomon.streams SET version = 0, last = 0 WHERE name = 'job:sync'", PAUSED),
    ("TRUNCATE gnomon.live", ENDED),
]


@pytest.fixture
def make_store(dsn: str, tmp_path: Path) -> Callable[[], PostgresStore]:
    return lambda: PostgresStore(dsn, **patient(tmp_path / "spool.db"))


async def append_last(store: PostgresStore, history: list[Event]) -> None:
    """Append the last event of a history, whose other events are in the log."""
    batch = numbered(history[-1:], after=await store.head())
    views = [execution.fold(history)] if isinstance(history[0], ExecutionEvent) else []
    await store.append(batch, views, job_states(history) if not views else [])


@pytest.mark.parametrize(("harm", "history"), HARM)
async def test_an_event_whose_stream_has_lost_its_end_is_refused_until_the_views_are_built_again(
    harm: str, history: list[Event], dsn: str, make_store: Callable[[], PostgresStore]
) -> None:
    async with make_store() as store:
        await append(store, JOB, RUN, kernel_history())
        head = await store.head()

    async with make_store() as leader:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(harm)
        said = rf"the end of stream '{history[0].stream}' .* event {history[-1].version} .* `gnomon postgres rebuild`"
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match=said):
                await append_last(leader, history)
        assert not leader.health().accepts_runs
        assert await leader.head() == head

    async with make_store() as store:
        await store.rebuild()
        await append_last(store, history)
        assert [event.version for event in await store.stream(history[0].stream)] == list(range(1, len(history) + 1))
        assert await store.differences() == await store.without_events() == []
