"""What the tests' own servers do, on which all other tests of the PostgreSQL store stand."""

from __future__ import annotations

import signal

import psycopg
import pytest

from postgres_servers import PostgresServer


def committed(dsn: str) -> list[int]:
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM numbers ORDER BY number")]


def test_a_killed_server_keeps_what_it_has_committed(own_postgres: PostgresServer) -> None:
    dsn = own_postgres.dsn()
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE numbers (number int)")
        connection.execute("INSERT INTO numbers VALUES (1)")
    lost = psycopg.connect(dsn)
    lost.execute("INSERT INTO numbers VALUES (2)")

    own_postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        lost.execute("INSERT INTO numbers VALUES (3)")
    own_postgres.start()

    assert committed(dsn) == [1]


def test_a_stopped_server_answers_nothing_until_it_goes_on(own_postgres: PostgresServer) -> None:
    with psycopg.connect(own_postgres.dsn(), autocommit=True) as connection:
        own_postgres.send(signal.SIGSTOP)
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            psycopg.connect(own_postgres.dsn(), connect_timeout=2)
        own_postgres.send(signal.SIGCONT)

        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_pooler_lends_one_connection_to_several_clients(dsn: str, pooled_dsn: str) -> None:
    with (
        psycopg.connect(pooled_dsn, prepare_threshold=None) as one,
        psycopg.connect(pooled_dsn, prepare_threshold=None) as other,
    ):
        backends = set()
        for client in (one, other, one, other):
            row = client.execute("SELECT pg_backend_pid()").fetchone()
            client.commit()
            assert row is not None
            backends.add(row[0])

        assert len(backends) == 1
