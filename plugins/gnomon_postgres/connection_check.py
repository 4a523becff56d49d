"""The check of `gnomon check --connect`: whether a start would find everything it needs. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gnomon.errors import StoreError
from gnomon_postgres.server import Connection, Server

OLDEST = 13
"""The oldest version of the server that is supported."""

_SERVER = """
    SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000,
        pg_is_in_recovery(), pg_encoding_to_char(encoding), current_setting('fsync')::bool,
        current_setting('full_page_writes')::bool, current_setting('synchronous_standby_names'),
        (SELECT count(*) FROM pg_stat_replication), current_user::text,
        has_database_privilege(current_database(), 'CREATE')
    FROM pg_database WHERE datname = current_database()
"""
_SCHEMA = """
    SELECT has_schema_privilege(oid, 'USAGE'), has_schema_privilege(oid, 'CREATE')
    FROM pg_namespace WHERE nspname = %s
"""
_TABLES = """
    SELECT relname::text, pg_has_role(relowner, 'USAGE'), pg_get_userbyid(relowner)::text
    FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname = %s AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname
"""
_LOG = """
    SELECT (SELECT coalesce(max(last), 0) FROM {schema}.commits), owner IS NOT NULL, pid, node FROM {schema}.lease
"""


class _Settings(NamedTuple):
    version: str
    major: int
    is_standby: bool
    encoding: str
    flushes: bool
    writes_full_pages: bool
    synchronous_standbys: str
    replicas: int
    role: str
    may_create_schema: bool


async def check_connection(server: Server) -> str:
    """Return a description of the server and its log; raise StoreError for whatever would make a start fail."""
    async with server.reading() as connection:
        settings = _Settings(*(await connection.fetch(_SERVER))[0])
        _check_settings(server, settings)
        log = await _check_log(server, connection, settings)
    found = f"{server.address} on version {settings.version}: {log}"
    return "; ".join([found, *_remarks(settings), *await _pooler(server)])


def _check_settings(server: Server, settings: _Settings) -> None:
    if settings.major < OLDEST:
        raise StoreError(f"{server.address} needs PostgreSQL {OLDEST} or later, the server has {settings.version}")
    if settings.is_standby:
        raise StoreError(
            f"{server.address} is on a standby, which cannot be written: give `dsn` the address of the primary, or "
            "those of all servers, as in host=db1,db2"
        )
    if settings.encoding != "UTF8":
        raise StoreError(
            f"{server.address} needs a database with the encoding UTF8, this one has {settings.encoding}: create one "
            "by CREATE DATABASE name TEMPLATE template0 ENCODING 'UTF8'"
        )


async def _check_log(server: Server, connection: Connection, settings: _Settings) -> str:
    """Return what is known of the log; StoreError if the role cannot create it, or not write it."""
    schema = await connection.fetch_one(_SCHEMA, (server.schema,))
    if schema is None and not settings.may_create_schema:
        raise StoreError(
            f"{server.address} has no such schema, and the role {settings.role} may not create it: "
            f"CREATE SCHEMA {server.quoted} AUTHORIZATION {_quoted(settings.role)}"
        )
    if schema is not None and schema != (True, True):
        raise StoreError(
            f"{server.address} cannot be written by the role {settings.role}: "
            f"GRANT USAGE, CREATE ON SCHEMA {server.quoted} TO {_quoted(settings.role)}"
        )
    tables = await connection.fetch(_TABLES, (server.schema,))
    if not tables:
        return "no log yet; the first start creates it"
    for name, is_owned, owner in tables:
        if not is_owned:
            raise StoreError(
                f"{server.address} has the table {name}, which belongs to {owner}: a kernel makes partitions and "
                f"migrates tables, so its role needs to own them: GRANT {_quoted(owner)} TO {_quoted(settings.role)}"
            )
    head, is_led, pid, node = (await connection.fetch(_LOG))[0]
    return f"a log at event {head:,}" + (f", in use by process {pid} on {node}" if is_led else "")


def _remarks(settings: _Settings) -> Iterator[str]:
    """Yield what the settings of the server mean for acknowledged events."""
    if settings.synchronous_standbys:
        yield f"{settings.replicas} replicas, synchronous: {settings.synchronous_standbys}"
    elif settings.replicas:
        yield f"{settings.replicas} replicas, none synchronous: if one is promoted, acknowledged events may be lost"
    if not settings.flushes:
        yield "fsync is off: a power cut may lose or damage the database"
    elif not settings.writes_full_pages:
        yield "full_page_writes is off: a power cut may damage the database"


async def _pooler(server: Server) -> list[str]:
    """Return what follows from a pooler between this process and the server, if there is one.

    A pooler gives a client another key than the server's process. In transaction mode it lends the
    server's process to one client after the other.
    """
    async with server.reading() as one, server.reading() as other:
        first = await _process(one)
        if first == one.link.pgconn.backend_pid:
            return []
        async with other.transaction():
            is_lent = await _process(other) == first or await _process(one) != first
    if not is_lent:
        return ["through a pooler"]
    return ["through a pooler in transaction mode, which passes no notices: changes are found by polling"]


async def _process(connection: Connection) -> int:
    return int((await connection.fetch("SELECT pg_backend_pid()"))[0][0])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
