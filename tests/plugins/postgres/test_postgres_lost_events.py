"""A database that has lost acknowledged events: noticed by the next append and at a start, and nothing on top of it.

What is lost is lost as in life: a copy of the server is taken while a kernel writes, as a replica or a backup is, and
takes the place of the server later.
"""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from append_writer import AppendWriter
from gnomon.domain import execution
from gnomon.domain.events import Event, KernelStarted
from gnomon.domain.rollback import Loss, Rollback
from gnomon.errors import RolledBackError
from gnomon.kernel import Kernel
from gnomon.testing.histories import NOON, SECOND, numbered, succeeded
from gnomon_postgres.store import PostgresStore
from gnomon_shared_log.errors import LostEventsError
from postgres_servers import PostgresServer, find_postgres, make_folder


def run(number: int, after: int) -> list[Event]:
    return numbered(succeeded("sync", NOON + number * SECOND), after=after)


async def append(store: PostgresStore, batch: list[Event]) -> None:
    await store.append(batch, [execution.fold(batch)], [])


@pytest.fixture
def copy(own_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """Provide a server without data, which takes the port of the first one."""
    server = PostgresServer(find_postgres(), make_folder())
    server.port = own_postgres.port
    yield server
    server.clean_up()
    shutil.rmtree(server.folder)


def new_store(server: PostgresServer, spool: Path) -> PostgresStore:
    patience = timedelta(seconds=60)
    return PostgresStore(server.dsn(), spool=spool, timeout=patience / 2, patience=patience, lease=patience)


def replace(server: PostgresServer, copy: PostgresServer) -> None:
    server.send(signal.SIGKILL)
    copy.start()


async def test_lost_events_are_noticed_by_appends_and_at_a_start_until_the_loss_is_accepted(
    own_postgres: PostgresServer, copy: PostgresServer, tmp_path: Path
) -> None:
    store = new_store(own_postgres, tmp_path / "spool.db")
    await store.open()
    await append(store, run(0, 0))
    own_postgres.back_up(copy)
    await append(store, run(1, 3))
    await append(store, run(2, 6))
    replace(own_postgres, copy)

    with pytest.raises(LostEventsError, match="events 4 to 9 are missing, its newest event is 3"):
        await append(store, run(3, 9))

    assert (store.health().state, store.health().accepts_runs) == ("degraded", False)
    await store.close()
    again = new_store(own_postgres, tmp_path / "spool.db")
    with pytest.raises(RolledBackError, match=r"events 4 to 9 are missing.*--accept-rollback") as refused:
        await again.open()
    with pytest.raises(RolledBackError, match=re.escape(str(refused.value))):
        await new_store(own_postgres, tmp_path / "spool.db").try_connection("auto")
    assert "a log at event 3" in await new_store(own_postgres, tmp_path / "spool.db").try_connection("follower")
    assert "a log at event 3" in await new_store(own_postgres, tmp_path / "other.db").try_connection("leader")
    for name, loss in (("spool", Loss(Rollback(3, 9), str(refused.value))), ("other", None)):
        reader = new_store(own_postgres, tmp_path / f"{name}.db")
        await reader.open(read_only=True)
        assert [event.position for event in await reader.read()] == [1, 2, 3]
        assert reader.loss == loss
        await reader.close()

    again.accept_rollback = True
    async with Kernel(store=again):
        assert again.rollback == Rollback(3, 9)
    await new_store(own_postgres, tmp_path / "spool.db").try_connection("leader")
    async with new_store(own_postgres, tmp_path / "spool.db") as third:  # now it is the log
        events = await third.read()
        assert third.rollback is None
    assert [event.position for event in events] == [1, 2, 3, *range(10, 10 + len(events) - 3)]
    assert [event.accepted_rollback for event in events if isinstance(event, KernelStarted)] == [Rollback(3, 9)]


async def test_other_events_in_the_place_of_acknowledged_ones_are_noticed_at_a_start(
    own_postgres: PostgresServer, copy: PostgresServer, tmp_path: Path
) -> None:
    async with new_store(own_postgres, tmp_path / "spool.db") as store:
        await append(store, run(0, 0))
        own_postgres.back_up(copy)
        await append(store, run(1, 3))
    replace(own_postgres, copy)
    for suffix in ("", ".mark"):
        (tmp_path / f"spool.db{suffix}").rename(tmp_path / f"kept.db{suffix}")
    async with new_store(own_postgres, tmp_path / "other.db") as other:  # on another machine
        await append(other, run(7, 3))
        await append(other, run(8, 6))

    with pytest.raises(RolledBackError, match="event 6 is another one"):
        await new_store(own_postgres, tmp_path / "kept.db").open()


async def test_a_killed_kernel_has_recorded_what_was_acknowledged_to_it(
    own_postgres: PostgresServer, copy: PostgresServer, tmp_path: Path
) -> None:
    writer = AppendWriter(own_postgres.dsn(), tmp_path / "spool.db", "psycopg", lease_s=600)  # not renewed meanwhile
    try:
        writer.expect(1)
        own_postgres.back_up(copy)
        with psycopg.connect(own_postgres.dsn()) as connection:
            (head,) = connection.execute("SELECT max(last) FROM gnomon.commits").fetchone() or (0,)
        writer.expect_after(head)
        acknowledged = writer.kill()
    finally:
        writer.close()
    replace(own_postgres, copy)

    with pytest.raises(RolledBackError) as refused:
        await new_store(own_postgres, tmp_path / "spool.db").open()

    lost = re.search(r"events (\d+) to (\d+) are missing, its newest event is (\d+)", str(refused.value))
    assert lost is not None
    assert int(lost[3]) <= head < acknowledged <= int(lost[2])
