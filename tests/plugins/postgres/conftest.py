"""A PostgreSQL server for tests, with a database for each test, directly and through PgBouncer."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

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
