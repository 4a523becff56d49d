"""The check of `gnomon check --connect`: whether a start would find everything it needs. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gnomon.domain.kernel_health import Role
from gnomon.errors import NoLogError, StoreError
from gnomon_postgres.schema.order_tables import WRITTEN_BY_FOLLOWERS
from gnomon_postgres.schema.schema_check import find_missing, is_own
from gnomon_postgres.server import MOST_CONNECTIONS, Connection, Row, Server

_SERVER = """
    SELECT current_setting('server_version'), pg_is_in_recovery(), current_setting('fsync')::bool,
        current_setting('full_page_writes')::bool,
        current_setting('synchronous_standby_names'), (SELECT count(*) FROM pg_stat_replication), current_user::text,
        has_database_privilege(current_database(), 'CREATE'), current_setting('transaction_read_only')::bool,
        (SELECT CASE WHEN rolsuper THEN NULL ELSE least(nullif(rolconnlimit, -1), nullif(datconnlimit, -1)) END
            FROM pg_roles, pg_database WHERE rolname = session_user AND datname = current_database())
"""
_SCHEMA = """
    SELECT has_schema_privilege(oid, 'USAGE'), has_schema_privilege(oid, 'CREATE')
    FROM pg_namespace WHERE nspname = %s
"""
_TABLES = """
    SELECT relname::text, relispartition, pg_has_role(relowner, 'USAGE'), pg_get_userbyid(relowner)::text, rolsuper,
        ARRAY(SELECT one FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS one
            WHERE NOT has_table_privilege(c.oid, one))
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_roles r ON r.oid = relowner
    WHERE nspname = %s AND relkind IN ('r', 'p') ORDER BY relispartition, relname
"""
_LOG = """
    SELECT coalesce((SELECT last FROM {schema}.commits ORDER BY first DESC LIMIT 1), 0), owner IS NOT NULL, pid, node
    FROM {schema}.lease
"""


class _Settings(NamedTuple):
    version: str
    is_standby: bool
    flushes: bool
    writes_full_pages: bool
    synchronous_standbys: str
    replicas: int
    role: str
    may_create_schema: bool
    is_read_only: bool
    most_connections: int | None


class _Table(NamedTuple):
    """A table as the role of the connection finds it; `lacks` are the rights that it does not have."""

    name: str
    is_partition: bool
    is_owned: bool
    owner: str
    belongs_to_superuser: bool
    lacks: list[str]


async def check_connection(server: Server, role: Role) -> str:
    """Return a description of the server and its log; raise StoreError for whatever would make a start fail.

    `role` is that of the kernel: one that follows needs fewer rights.
    """
    async with server.reading() as connection:
        connection.expect_server(server.address)
        settings = _Settings(*(await connection.fetch(_SERVER))[0])
        _check_settings(server, settings)
        if connection.link.is_direct:  # a pooler shares them among its clients
            _check_connections(server, settings)
        log = await _check_log(server, connection, settings, role)
    found = f"{server.address} on version {settings.version}: {log}"
    return "; ".join([found, *_remarks(settings), *await _pooler(server)])


def _check_settings(server: Server, settings: _Settings) -> None:
    if settings.is_standby:
        raise StoreError(
            f"{server.address} is on a standby, which cannot be written: give `dsn` the address of the primary, or "
            "those of all servers, as in host=db1,db2"
        )
    if settings.is_read_only:
        raise StoreError(
            f"{server.address} cannot be written: `default_transaction_read_only` is on; if it is not the service that "
            f"has no disk space left, ALTER ROLE {_quoted(settings.role)} SET default_transaction_read_only = off"
        )


def _check_connections(server: Server, settings: _Settings) -> None:
    most = settings.most_connections
    if most is not None and most < MOST_CONNECTIONS:
        raise StoreError(
            f"{server.address} accepts {most} connections for this role or this database, and each process uses up to "
            f"{MOST_CONNECTIONS}: raise the CONNECTION LIMIT of the role or of the database"
        )


async def _check_log(server: Server, connection: Connection, settings: _Settings, role: Role) -> str:
    """Return what is known of the log; StoreError if the role of the connection may not do what the kernel does."""
    rights = await connection.fetch_one(_SCHEMA, (server.schema,))
    tables = [_Table(*row) for row in await connection.fetch(_TABLES, (server.schema,)) if is_own(row[0])]
    if role == "follower":
        if not tables:
            raise NoLogError(f"{server.address} does not exist: start the kernel that leads first")
        lacking = list(_missing_to_follow(server, rights, tables, settings.role))
    else:
        lacking = list(_missing_to_lead(server, rights, tables, settings))
    if lacking:
        raise StoreError(
            f"{server.address} cannot be {'followed' if role == 'follower' else 'led'} by the role {settings.role}, "
            f"which lacks rights: {'; '.join(lacking)}"
        )
    missing = await find_missing(server)
    if missing.is_all:
        return "no log yet; the first start creates it"
    if refusal := missing.refusal(server.address):
        raise StoreError(refusal)
    if missing.parts:
        return f"a log without {', '.join(missing.parts)}, which the next kernel that leads makes again"
    head, is_led, pid, node = (await connection.fetch(_LOG))[0]
    return f"a log at event {head:,}" + (f", in use by process {pid} on {node}" if is_led else "")


def _missing_to_lead(
    server: Server, rights: Row | None, tables: Sequence[_Table], settings: _Settings
) -> Iterator[str]:
    """Yield the statements that grant what the role lacks to create the tables, to migrate and to write them."""
    role = _quoted(settings.role)
    if rights is None and not settings.may_create_schema:
        yield f"CREATE SCHEMA {server.quoted} AUTHORIZATION {role}"
    if rights is not None and rights != (True, True):
        yield f"GRANT USAGE, CREATE ON SCHEMA {server.quoted} TO {role}"
    foreign = {table.owner: table for table in reversed(tables) if not table.is_owned}
    for owner, table in foreign.items():
        why = (
            f"because who leads makes partitions and migrates tables, and those such as {table.name} belong to {owner}"
        )
        if table.belongs_to_superuser:
            yield f"ALTER TABLE {_name(server, table)} OWNER TO {role}, and so for each of them, {why}"
        else:
            yield f"GRANT {_quoted(owner)} TO {role}, {why}"
    for table in tables:
        if table.is_owned and table.lacks:
            yield f"GRANT {', '.join(table.lacks)} ON {_name(server, table)} TO {role}"


def _missing_to_follow(server: Server, rights: Row | None, tables: Sequence[_Table], name: str) -> Iterator[str]:
    """Yield the statements that grant what the role lacks to read the log, and to place orders."""
    role = _quoted(name)
    if rights is None or not rights[0]:
        yield f"GRANT USAGE ON SCHEMA {server.quoted} TO {role}"
    parents = [table for table in tables if not table.is_partition]
    if any("SELECT" in table.lacks for table in parents):
        yield f"GRANT SELECT ON ALL TABLES IN SCHEMA {server.quoted} TO {role}"
    for table in parents:
        if table.name in WRITTEN_BY_FOLLOWERS and (lacks := [one for one in table.lacks if one != "SELECT"]):
            yield f"GRANT {', '.join(lacks)} ON {_name(server, table)} TO {role}"


def _name(server: Server, table: _Table) -> str:
    return f"{server.quoted}.{_quoted(table.name)}"


def _remarks(settings: _Settings) -> Iterator[str]:
    """Yield what the settings of the server mean for acknowledged events."""
    replicas = f"{settings.replicas} replica{'' if settings.replicas == 1 else 's'}"
    if settings.synchronous_standbys:
        yield f"{replicas}, synchronous: {settings.synchronous_standbys}"
    elif settings.replicas:
        yield f"{replicas}, none synchronous: if one is promoted, acknowledged events may be lost"
    if not settings.flushes:
        yield "fsync is off: a power cut may lose or damage the database"
    elif not settings.writes_full_pages:
        yield "full_page_writes is off: a power cut may damage the database"


async def _pooler(server: Server) -> list[str]:
    """Return what follows from a pooler between this process and the server, if there is one.

    In transaction mode it lends a process of the server to one client after the other.
    """
    async with server.reading() as one, server.reading() as other:
        if one.link.is_direct:
            return []
        first = await _process(one)
        async with other.transaction():
            is_lent = await _process(other) == first or await _process(one) != first
    if not is_lent:
        return ["through a pooler"]
    return ["through a pooler in transaction mode, which passes no notices: changes are found by polling"]


async def _process(connection: Connection) -> int:
    return int((await connection.fetch("SELECT pg_backend_pid()"))[0][0])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
