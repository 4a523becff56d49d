"""Creates the tables of a log and brings older ones to the present layout, in one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from gnomon.errors import NoLogError, RolledBackError, StoreError
from gnomon.logs import get_logger
from gnomon_postgres.schema import partitions
from gnomon_postgres.schema.log_tables import LAYOUT
from gnomon_postgres.schema.schema_check import LEASE, STATEMENTS, Missing, find_missing, has_schema, statements
from gnomon_postgres.server import WORK_LIMIT_S, Connection, Server

log = get_logger("gnomon.postgres")
Hold: TypeAlias = Callable[[Connection], Awaitable[None]]

# A lock of the transaction, so that a pooler cannot lose it. Kernels that start at the same time wait for each other.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('gnomon ' || %s, 0))"
# Rows of the log take a third of the time, on the server and in all, that they take with PostgreSQL's own compression.
_HAS_LZ4 = "SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)"
_LOG = "SELECT log_id, layout FROM {schema}.log"


async def prepare(server: Server, *, accepts_loss: bool = False) -> str:
    """Create or migrate the log, for a kernel that is to lead it; return the unique id of the log.

    Another kernel may lead it meanwhile. So of what another program has dropped, only the lease is made again here,
    and the rest by `complete`. RolledBackError where it cannot be made from the log; with `accepts_loss` only where
    that is the log itself.
    """
    async with server.writing(WORK_LIMIT_S) as connection, connection.transaction():
        await connection.fetch(_LOCK, (server.schema,))
        missing = await find_missing(server)
        if missing.is_all:
            await _create(server, connection)
        elif refusal := missing.refusal(server.address, accepts=accepts_loss):
            raise RolledBackError(refusal)
        log_id, layout = (await connection.fetch(_LOG))[0]
        _check_not_newer(server, layout)
        if not missing.is_all:
            await _make_again(server, connection, missing.of_lease)
        return str(log_id)


async def complete(server: Server, hold: Hold, *, accepts_loss: bool = False) -> None:
    """Make again what another program has dropped, for the kernel that leads; errors as `prepare`, and those of `hold`.

    `hold` keeps others from leading until the end of the transaction, or says that this kernel leads no longer.
    """
    async with server.writing(WORK_LIMIT_S) as connection, connection.transaction():
        await connection.fetch(_LOCK, (server.schema,))
        await hold(connection)
        missing = await find_missing(server)
        if refusal := missing.refusal(server.address, accepts=accepts_loss):
            raise RolledBackError(refusal)
        await _make_again(server, connection, missing)


async def identify(server: Server) -> str:
    """Return the unique id of an existing log, for a process that only reads; NoLogError where there is none."""
    missing = await find_missing(server)
    if missing.is_all:
        raise NoLogError(f"{server.address} contains no log: start a kernel with it first")
    if refusal := missing.refusal(server.address, accepts=True):
        raise RolledBackError(refusal)
    async with server.reading() as connection:
        log_id, layout = (await connection.fetch(_LOG))[0]
    _check_not_newer(server, layout)
    if layout < LAYOUT:
        raise StoreError(
            f"{server.address} was written by an older Gnomon: its layout is {layout}, this one reads {LAYOUT}; start "
            "a kernel there once (`gnomon run`): it migrates the tables and loses nothing"
        )
    return str(log_id)


async def find_id(server: Server) -> str | None:
    """Return the unique id of a log whose tables are there; None where there is no log."""
    if (await find_missing(server)).is_all:
        return None
    async with server.reading() as connection:
        return str((await connection.fetch(_LOG))[0][0])


async def _make_again(server: Server, connection: Connection, missing: Missing) -> None:
    if missing.parts:
        log.warning("what another program has dropped is made again", log=server.address, missing=[*missing.parts])
    for statement in statements(missing):
        await connection.execute(statement)


async def _create(server: Server, connection: Connection) -> None:
    connection.expect_server(server.address)
    if not await has_schema(server, connection):  # else no right to create one is needed
        await connection.execute("CREATE SCHEMA {schema}")
    for statement in (*STATEMENTS, LEASE):
        await connection.execute(statement)
    if await connection.fetch_one(_HAS_LZ4) is not None:
        await connection.execute("ALTER TABLE {schema}.commits ALTER COLUMN events SET COMPRESSION lz4")
    await partitions.ensure(connection, 1)
    await connection.execute(
        "INSERT INTO {schema}.log (log_id, layout) VALUES (%s, %s)", (secrets.token_hex(12), LAYOUT)
    )
    log.info("the log is created", log=server.address)


def _check_not_newer(server: Server, layout: int) -> None:
    if layout > LAYOUT:
        raise StoreError(
            f"{server.address} was written by a newer Gnomon: its layout is {layout}, this one knows {LAYOUT}; upgrade "
            "Gnomon, or use another schema"
        )
