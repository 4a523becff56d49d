"""A promoted replica, and a server that is restored to an earlier moment: a loss is noticed, and nothing is on top."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from gnomon import Job, Kernel
from gnomon.domain import execution
from gnomon.domain.events import Event
from gnomon.errors import DeposedError, RolledBackError, StoreUnavailableError
from gnomon.testing.histories import NOON, SECOND, numbered, succeeded
from gnomon_postgres import PostgresStore
from gnomon_shared_log.errors import LostEventsError
from postgres_servers import OWNER, PostgresServer, make_folder
from servers import eventually

LIMITS: dict[str, Any] = {"timeout": timedelta(seconds=45), "lease": timedelta(seconds=60), "patience": timedelta(0)}

CANCEL_WAITS = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


class Pair:
    """A primary, and a replica that receives its log until it is cut off."""

    def __init__(self, primary: PostgresServer, replica: PostgresServer) -> None:
        self.primary, self.replica = primary, replica

    @property
    def dsn(self) -> str:
        """The address of both: the store writes to the one that can be written."""
        ports = ",".join(f"127.0.0.1:{one.port}" for one in (self.primary, self.replica))
        return f"postgresql://{OWNER}@{ports}/postgres"

    async def catch_up(self) -> None:
        """Wait until the replica has everything that the primary has committed."""
        (position,) = one_row(self.primary, "SELECT pg_current_wal_lsn()")
        has_it = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
        await eventually(lambda: one_row(self.replica, has_it)[0])

    async def wait_for_replica(self) -> None:
        """Make the replica a synchronous one, and wait until commits wait for it."""
        with psycopg.connect(self.primary.dsn(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
        is_synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        await eventually(lambda: one_row(self.primary, is_synchronous) == (1,))

    async def part(self) -> None:
        """End the replication, so that the replica lacks what is committed from now on."""
        with psycopg.connect(self.replica.dsn(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
        await eventually(lambda: one_row(self.primary, "SELECT count(*) FROM pg_stat_replication") == (0,))

    def fail_over(self) -> None:
        """Lose the primary, and promote the replica."""
        self.primary.kill()
        assert one_row(self.replica, "SELECT pg_promote()") == (True,)


def one_row(server: PostgresServer, statement: str) -> Any:
    with psycopg.connect(server.dsn()) as connection:
        return connection.execute(statement).fetchone()


@pytest.fixture
def other_postgres(own_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """Provide a server without files, not started yet."""
    server = PostgresServer(Path(own_postgres.program).parent, make_folder())
    yield server
    server.clean_up()
    shutil.rmtree(server.folder)


@pytest.fixture
def pair(own_postgres: PostgresServer, other_postgres: PostgresServer) -> Pair:
    own_postgres.back_up(other_postgres)
    other_postgres.follow(own_postgres)
    other_postgres.start()
    return Pair(own_postgres, other_postgres)


def run(number: int, after: int) -> list[Event]:
    return numbered(succeeded("sync", NOON + number * SECOND), after=after)


async def keep(store: PostgresStore, batch: list[Event]) -> None:
    await store.append(batch, [execution.fold(batch)], [])


def positions(dsn: str) -> list[tuple[int, int]]:
    """Return the first and the last position of each row of the log."""
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT first, last FROM gnomon.commits ORDER BY first").fetchall()


async def refused(store: PostgresStore, batch: list[Event]) -> str:
    """Append until the store has found out that events are lost, as the journal does; return what it says."""
    while True:
        try:
            await keep(store, batch)
        except StoreUnavailableError:
            await asyncio.sleep(0.05)  # the connections are gone
        except LostEventsError as exc:
            return str(exc)
        else:
            pytest.fail("it wrote on top of the gap")


async def test_nothing_is_written_on_top_of_what_a_promoted_replica_lacks(pair: Pair, tmp_path: Path) -> None:
    async with PostgresStore(pair.dsn, spool=tmp_path / "spool.db", **LIMITS) as store:
        await keep(store, run(0, 0))
        await pair.catch_up()
        await pair.part()
        await keep(store, run(1, 3))

        pair.fail_over()
        with capture_logs() as logs:
            assert "events 4 to 6 are missing, its newest event is 3" in await refused(store, run(2, 6))

        assert positions(pair.replica.dsn()) == [(1, 3)]
        health = store.health()
        assert (health.state, health.accepts_runs) == ("degraded", False)
        assert "critical" in {line["log_level"] for line in logs}
        await refused(store, run(2, 6))
        assert positions(pair.replica.dsn()) == [(1, 3)]


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["out-of-time", "cancelled"])
async def test_nothing_counts_that_no_synchronous_replica_has(pair: Pair, tmp_path: Path, is_cancelled: bool) -> None:
    limits = LIMITS | ({} if is_cancelled else {"timeout": timedelta(seconds=3)})
    async with PostgresStore(pair.primary.dsn(), spool=tmp_path / "spool.db", **limits) as store:

        async def refused_without_replica(batch: list[Event]) -> None:
            task = asyncio.create_task(keep(store, batch))
            if is_cancelled:
                await eventually(lambda: one_row(pair.primary, CANCEL_WAITS) and task.done())
            with pytest.raises(StoreUnavailableError):
                await task

        await keep(store, run(0, 0))
        await pair.wait_for_replica()
        pair.replica.kill()
        await refused_without_replica(run(1, 3))
        await eventually(lambda: positions(pair.primary.dsn()) == [(1, 3), (4, 6)])  # the commit is only there
        await refused_without_replica(run(1, 3))

        pair.replica.start()
        await eventually(lambda: accepted(store, run(1, 3)))
        await eventually(lambda: positions(pair.replica.dsn()) == [(1, 3), (4, 6)])


async def accepted(store: PostgresStore, batch: list[Event]) -> bool:
    try:
        await keep(store, batch)
    except StoreUnavailableError:
        return False
    return True


async def test_a_standby_elsewhere_does_not_lead_without_the_events_that_it_has_read(
    pair: Pair, tmp_path: Path
) -> None:
    leader, spool = PostgresStore(pair.dsn, spool=tmp_path / "spool.db", **LIMITS), tmp_path / "elsewhere.db"
    await leader.open()
    await keep(leader, run(0, 0))
    async with Kernel(store=PostgresStore(pair.dsn, spool=spool, **LIMITS)) as standby:
        await pair.catch_up()
        await pair.part()
        await keep(leader, run(1, 3))
        await eventually(lambda: standby.health().position == 6)

        pair.fail_over()
        await leader.close()  # its lease is free then

        lost = (
            "nobody leads the log, and this kernel cannot: .* events 4 to 6 are missing, its newest event is 3.* accept"
        )
        await eventually(lambda: re.search(lost, str(standby.health().problem)))
    with pytest.raises(RolledBackError, match="events 4 to 6 are missing"):  # also after a restart
        await PostgresStore(pair.dsn, spool=spool, **LIMITS).open()
    assert positions(pair.replica.dsn()) == [(1, 3)]

    accepting = PostgresStore(pair.dsn, spool=spool, **LIMITS)
    accepting.accept_rollback = True
    async with accepting:
        await keep(accepting, run(2, 6))
    assert positions(pair.replica.dsn()) == [(1, 3), (6, 6), (7, 9)]


async def test_a_replica_that_lacks_nothing_is_written_after_its_promotion(pair: Pair, tmp_path: Path) -> None:
    async with PostgresStore(pair.dsn, spool=tmp_path / "spool.db", cut_off="run", **LIMITS) as store:
        await keep(store, run(0, 0))
        await pair.catch_up()

        pair.fail_over()
        await keep(store, run(1, 3))
        await eventually(lambda: store.health().state == "healthy")

        assert positions(pair.replica.dsn()) == [(1, 3), (4, 6)]


async def test_a_kernel_stops_loudly_and_starts_nothing_more(pair: Pair, tmp_path: Path) -> None:
    store = PostgresStore(pair.dsn, spool=tmp_path / "spool.db", **LIMITS)
    async with Kernel(store=store, jobs=[Job(id="x", func=print)], drain=timedelta(0)) as kernel:
        await kernel.wait((await kernel.trigger("x")).execution.id)
        await pair.catch_up()
        await pair.part()
        await kernel.wait((await kernel.trigger("x")).execution.id)
        known = positions(pair.replica.dsn())

        pair.fail_over()
        with pytest.raises(DeposedError, match="are missing"):
            await kernel.trigger("x")
        health = kernel.health()

    assert health.state == "deposed"
    assert "has lost acknowledged events" in str(health.problem)
    assert positions(pair.replica.dsn()) == known


async def test_a_restore_to_an_earlier_moment_stops_the_next_start(
    own_postgres: PostgresServer, other_postgres: PostgresServer, tmp_path: Path
) -> None:
    archive = own_postgres.folder / "archive"
    own_postgres.stop()
    own_postgres.start("-c", "archive_mode=on", "-c", f"archive_command=mkdir -p {archive} && cp %p {archive}/%f")
    own_postgres.back_up(other_postgres)
    spool = tmp_path / "spool.db"
    async with PostgresStore(own_postgres.dsn(), spool=spool, **LIMITS) as store:
        await keep(store, run(0, 0))
        one_row(own_postgres, "SELECT pg_create_restore_point('before')")
        await keep(store, run(1, 3))
    one_row(own_postgres, "SELECT pg_switch_wal()")
    own_postgres.stop()  # which archives the rest

    other_postgres.write("recovery.signal", "")
    settings = {
        "restore_command": f"cp {archive}/%f %p",
        "recovery_target_name": "before",
        "recovery_target_action": "promote",
    }
    other_postgres.start(*(part for name, value in settings.items() for part in ("-c", f"{name}={value}")))
    await eventually(lambda: one_row(other_postgres, "SELECT pg_is_in_recovery()") == (False,))

    with pytest.raises(RolledBackError, match=r"events 4 to 6 are missing.*--accept-rollback"):
        await PostgresStore(other_postgres.dsn(), spool=spool, **LIMITS).open()
    assert positions(other_postgres.dsn()) == [(1, 3)]
