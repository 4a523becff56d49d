"""Logs of every kind, each named by one text: the path of a SQLite log, or the URI of a database on a server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from pymongo import MongoClient

from gnomon.ports import Store
from gnomon_sqlite import SqliteStore
from postgres_servers import PostgresServer, find_postgres, make_folder
from servers import MongoServer, find_mongo

LogServer: TypeAlias = MongoServer | PostgresServer


def store_of(place: str, spool: Path, *, driver: str = "pymongo", **settings: Any) -> Store:
    """Return the store of a log; a store on a server has the file `spool`, and other settings of its class.

    `driver` is that of MongoDB, which has two.
    """
    if place.startswith("mongodb://"):
        from gnomon_mongo import MongoStore
        from gnomon_mongo.drivers import Driver

        return MongoStore(place, driver=Driver("motor" if driver == "motor" else "pymongo"), spool=spool, **settings)
    if place.startswith("postgresql://"):
        from gnomon_postgres import PostgresStore

        return PostgresStore(place, spool=spool, **settings)
    return SqliteStore(Path(place))


def patient(spool: Path) -> dict[str, Any]:
    """Return settings of a store that waits long for a slow answer, and not at all for a server that is not there."""
    return {
        "spool": spool,
        "timeout": timedelta(seconds=45),
        "patience": timedelta(0),
        "lease": timedelta(seconds=50),
    }


@contextmanager
def server_of(kind: str, folder: Path) -> Iterator[LogServer]:
    """Run a server of this kind for the block."""
    server: LogServer
    if kind == "postgres":
        folder = make_folder()  # another user runs it
        postgres = server = PostgresServer(find_postgres(), folder)
        postgres.initialize()
    else:
        folder.mkdir()
        server = MongoServer(find_mongo(), folder)
    server.start()
    try:
        yield server
    finally:
        server.clean_up()
        shutil.rmtree(folder)


def make_database(server: LogServer, name: str) -> None:
    """Make an empty database where the server does not make it when something is written there."""
    if isinstance(server, PostgresServer):
        server.create_database(name)


def drop_database(server: LogServer, name: str) -> None:
    """Drop a database with everything in it, also while it is in use."""
    if isinstance(server, PostgresServer):
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    else:
        with MongoClient[Any](server.uri) as client:
            client.drop_database(name)


def place_on(server: LogServer, name: str, port: int | None = None) -> str:
    """Return the place of the log in a database, for a client that connects to this port, such as that of a proxy."""
    if isinstance(server, PostgresServer):
        return server.dsn(name, port=port)
    return f"mongodb://127.0.0.1:{port or server.port}/{name}?directConnection=true"


def config_section(place: str, spool: Path, **keys: str) -> str:
    """Return the section of a config with the store of a log on a server."""
    name, key = ("postgres", "dsn") if place.startswith("postgresql://") else ("mongo", "uri")
    return "\n".join(
        [
            f"[plugins.{name}]",
            *(f'{one} = "{value}"' for one, value in {key: place, "spool": str(spool), **keys}.items()),
            "",
        ]
    )
