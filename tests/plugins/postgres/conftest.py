"""A PostgreSQL server for tests, with a database for each test, directly and through PgBouncer."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from gnomon import Job, Kernel
from gnomon.orders.serving import AnsweredOrders
from gnomon.stores.memory import MemoryStore
from gnomon_postgres.orders.transactional_receiver import TransactionalReceiver
from gnomon_postgres.schema import migrations
from gnomon_postgres.server import Server
from order_receiving import TERM, Connection, Gate, greet, lead, receiver_of
from postgres_servers import PgBouncer, PostgresServer, find_pgbouncer, find_postgres, make_folder


@pytest.fixture(scope="session")
def empty_cluster() -> Iterator[PostgresServer]:
    """Provide a server that is never started: its files are copied for each that is."""
    server = PostgresServer(find_postgres(), make_folder())
    server.initialize()
    yield server
    server.clean_up()
    shutil.rmtree(server.folder)


@pytest.fixture(scope="session")
def postgres(empty_cluster: PostgresServer) -> Iterator[PostgresServer]:
    """Provide the server that all tests share; each has its own database."""
    yield from _running(empty_cluster)


@pytest.fixture
def own_postgres(empty_cluster: PostgresServer) -> Iterator[PostgresServer]:
    """Provide a server of the test's own, to be killed at will."""
    yield from _running(empty_cluster)


def _running(cluster: PostgresServer) -> Iterator[PostgresServer]:
    server = PostgresServer(Path(cluster.program).parent, make_folder())
    server.copy_of(cluster)
    server.start()
    yield server
    server.clean_up()
    shutil.rmtree(server.folder)


@pytest.fixture(scope="session")
def bouncer(postgres: PostgresServer) -> Iterator[PgBouncer]:
    """Provide a pooler in transaction mode before the shared server."""
    pooler = PgBouncer(find_pgbouncer(), make_folder(), postgres)
    pooler.start()
    yield pooler
    pooler.clean_up()
    shutil.rmtree(pooler.folder)


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """Provide the name of an empty database of the test's own."""
    name = f"gnomon_{uuid.uuid4().hex[:12]}"
    postgres.create_database(name)
    yield name
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def dsn(postgres: PostgresServer, database: str) -> str:
    """Provide the address of an empty database of the test's own."""
    return postgres.dsn(database)


@pytest.fixture
def pooled_dsn(bouncer: PgBouncer, database: str) -> str:
    """Provide the address of the same database, through the pooler."""
    return bouncer.dsn(database)


@pytest.fixture
async def led_server(dsn: str) -> AsyncIterator[Server]:
    """Provide a database with a log, which this kernel leads."""
    server = Server(dsn, "gnomon", 30.0)
    await server.connect()
    await migrations.prepare(server)
    await lead(server, TERM)
    yield server
    await server.close()


@pytest.fixture
async def application(led_server: Server, dsn: str) -> AsyncIterator[Connection]:
    """Provide the connection of an application, which begins transactions by itself."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        yield connection


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def kernel(gate: Gate) -> AsyncIterator[Kernel]:
    """Provide a kernel that carries out orders; its log is in memory, and outlives what tests do to the receiver."""
    jobs = [
        Job(id="greet", func=greet),
        Job(id="narrow", func=gate, max_instances=1, overlap="queue", queue_limit=1),
        Job(id="paused", func=greet, paused=True),
    ]
    async with Kernel(store=MemoryStore(), jobs=jobs, allow_functions=["json:*"]) as kernel:
        yield kernel
        gate.open.set()


@pytest.fixture
def receiver(led_server: Server, kernel: Kernel) -> TransactionalReceiver:
    """Provide the receiver of the kernel."""
    return receiver_of(led_server, AnsweredOrders(kernel, {}).answer)


@pytest.fixture
def role(postgres: PostgresServer, database: str) -> Iterator[Callable[..., str]]:
    """Provide a function that makes a role with these rights on the test's database; it returns the role's DSN."""
    name = f"{database}_app"
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))

        def make(*statements: str) -> str:
            for statement in statements:
                connection.execute(statement.format(role=name, database=database))
            return postgres.dsn(database, name)

        yield make
        connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
