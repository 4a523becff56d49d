"""The connections to one schema of a database: lent for a block, with a time limit and translated errors.

    async with server.reading() as connection:
        rows = await connection.fetch("SELECT first, events FROM {schema}.commits WHERE last > %s", (after,))

Each statement outside `connection.transaction()` is its own transaction. Nothing is kept in a session, so a pooler
may give each transaction another one: no SET without LOCAL, no lock that outlives a transaction, and statements are
prepared only where there is no pooler. A statement names its tables with `{schema}`, which stands for the quoted name
of the schema.
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Self, TypeAlias

import psycopg
from psycopg import waiting
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from gnomon.errors import StoreError
from gnomon.forks import abandon_in_children
from gnomon.tasks import protected
from gnomon_postgres import log_address
from gnomon_postgres.errors import translate

Row: TypeAlias = tuple[Any, ...]
Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]

OLDEST_VERSION = 13
"""The oldest version of PostgreSQL that is supported."""
READERS, WRITERS = 5, 3
"""Connections of each kind. Appends are made one at a time; views and log lines are written beside them."""
LIST_LIMIT_S = 15.0
"""For a list or a count over a long log, which take longer than reading a single row."""
WORK_LIMIT_S = 600.0
"""For one step of background work: creating tables, pruning."""
CANCEL_LIMIT_S = 1.0
SNAPSHOT = "ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""The mode of a transaction whose statements all see the log as it was at the first one."""
_WAIT_INTERVAL_S = 0.1
_REPLICAS_LEFT_OUT = "SyncRepWaitForLSN"
"""The function of the server that warns of a commit for whose synchronous replicas it does not wait any longer. The
warning has no state of its own, and its text is in the language of the server."""


class _Link(psycopg.AsyncConnection[Row]):
    """A connection that is given up when its task is cancelled: the driver would wait up to 10 s for the server."""

    _is_direct: bool | None = None
    warned: list[str | None]

    @classmethod
    async def open(cls, dsn: str) -> Self:
        link = await cls.connect(dsn, autocommit=True, prepare_threshold=None)
        link.warned = warned = []
        link.add_notice_handler(lambda notice: warned.append(notice.source_function))
        return link

    async def execute(self, query: Any, params: Any = None, **options: Any) -> psycopg.AsyncCursor[Row]:
        """Execute a statement; OperationalError where it is committed, but synchronous replicas may not have it."""
        self.warned.clear()
        cursor = await super().execute(query, params, **options)
        if _REPLICAS_LEFT_OUT in self.warned:
            raise psycopg.OperationalError("the wait for the synchronous replicas of a commit was cancelled")
        return cursor

    async def wait(self, gen: Any, interval: float = _WAIT_INTERVAL_S, *args: Any, **kwargs: Any) -> Any:
        return await waiting.wait_async(gen, self.pgconn.socket, interval, *args, **kwargs)

    async def is_direct(self) -> bool:
        """Return whether the session is ours alone: a pooler gives a client another key than the server's process."""
        if self._is_direct is None:
            row = await (await self.execute("SELECT pg_backend_pid()")).fetchone()
            self._is_direct = row == (self.info.backend_pid,)
            self.prepare_threshold = sys.maxsize if self._is_direct else None  # what is asked for, and nothing else
        return self._is_direct


class Connection:
    """A connection while it is lent. Rows are tuples; parameters are `%s` or `%(name)s`."""

    def __init__(self, link: _Link, schema: str, idle_limit_s: float) -> None:
        self.link = link
        self._schema = schema
        self._idle_limit_ms = round(idle_limit_s * 1000)

    async def fetch(self, statement: str, parameters: Parameters | None = None) -> list[Row]:
        """Execute a statement that returns rows, and return all of them."""
        cursor = await self.link.execute(self.sql(statement, parameters), parameters, binary=True)
        return await cursor.fetchall()

    async def fetch_one(
        self, statement: str, parameters: Parameters | None = None, *, prepare: bool = False
    ) -> Row | None:
        """Execute a statement that returns rows, and return the first one, or None.

        With `prepare` the server plans it once for the connection, unless that leads through a pooler. The driver sends
        numbers in the smallest type that holds them, and statements of other types are other statements: use Int8.
        """
        prepare = prepare and await self.link.is_direct()
        cursor = await self.link.execute(self.sql(statement, parameters), parameters, prepare=prepare, binary=True)
        return await cursor.fetchone()

    async def execute(self, statement: str, parameters: Parameters | None = None) -> int:
        """Execute a statement, or several without parameters; return how many rows the last one has changed."""
        return (await self.link.execute(self.sql(statement, parameters), parameters)).rowcount

    def expect_server(self, address: str) -> None:
        """Raise StoreError for a server that is too old, and for a database that cannot hold every text."""
        info = self.link.info
        if info.server_version < OLDEST_VERSION * 10_000:
            found = info.parameter_status("server_version")
            raise StoreError(f"{address} needs PostgreSQL {OLDEST_VERSION} or later, the server has {found}")
        if (encoding := info.parameter_status("server_encoding")) != "UTF8":
            raise StoreError(
                f"{address} needs a database with the encoding UTF8, this one has {encoding}: create one by CREATE "
                "DATABASE name TEMPLATE template0 ENCODING 'UTF8'"
            )

    @asynccontextmanager
    async def transaction(self, mode: str = "") -> AsyncIterator[None]:
        """Commit what the block has done, or nothing of it; `mode` is what stands after BEGIN, such as SNAPSHOT.

        The server ends a transaction that waits for its next statement for longer than the limit: its locks would keep
        others from leading while this process is stopped, or cut off. Other limits are those of the caller, not those
        that a service has set for the role; and NULL in an array is read as such, whatever `array_nulls` says there.
        """
        await self.link.execute(
            f"BEGIN {mode}; SET LOCAL idle_in_transaction_session_timeout = {self._idle_limit_ms}; "
            "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL array_nulls = on"
        )
        try:
            yield
            await self.link.execute("COMMIT")
        except BaseException:
            if self.link.pgconn.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
                with suppress(psycopg.Error):
                    await self.link.execute("ROLLBACK")
            raise  # a connection in any other state is closed, which ends the transaction, too

    def sql(self, statement: str, parameters: Parameters | None = None) -> str:
        """Return a statement with the name of the schema, in which a `%` is doubled where the driver wants that."""
        schema = self._schema if parameters is None else self._schema.replace("%", "%%")
        return statement.replace("{schema}", schema)


class _Pool:
    """Connections of one kind: made when they are needed, and made again after an error."""

    def __init__(self, dsn: str, size: int) -> None:
        self._dsn = dsn
        self._free: list[_Link] = []
        self._places = asyncio.Semaphore(size)
        self._discarded: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[_Link]:
        async with self._places:
            link = self._take() or await _Link.open(self._dsn)
            try:
                yield link
            except psycopg.errors.ReadOnlySqlTransaction:  # of a standby: another server may be the primary by now
                await link.close()
                raise
            finally:
                if not link.closed and link.pgconn.transaction_status == TransactionStatus.IDLE:
                    self._free.append(link)
                else:
                    self._discard(link)

    def _take(self) -> _Link | None:
        while self._free:
            link = self._free.pop()
            if not link.closed and not _has_news(link):
                return link
            self._discard(link)
        return None

    def _discard(self, link: _Link) -> None:
        task = protected(_discard(link))
        self._discarded.add(task)
        task.add_done_callback(self._discarded.discard)

    async def close(self) -> None:
        """Close the connections that are not lent."""
        while self._free:
            await self._free.pop().close()
        if self._discarded:
            await asyncio.wait(self._discarded)


def _has_news(link: _Link) -> bool:
    """Return whether a server has sent something to an idle connection: it has ended it, as at its own end."""
    poll = select.poll()
    poll.register(link.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


async def _discard(link: _Link) -> None:
    """Close a connection whose state is not known; the server stops what it may still be doing for it."""
    if link.pgconn.transaction_status == TransactionStatus.ACTIVE:
        with suppress(psycopg.Error, OSError, TimeoutError):
            async with asyncio.timeout(CANCEL_LIMIT_S):
                await link.cancel_safe(timeout=CANCEL_LIMIT_S)
    await link.close()


class Server:
    """One schema of a database. `timeout` is in seconds."""

    def __init__(self, dsn: str, schema: str, timeout: float) -> None:
        self.timeout = timeout
        self.schema = schema
        self.quoted = '"' + schema.replace('"', '""') + '"'
        self._dsn = dsn
        self._given, self._problem = _given(dsn)
        self.address = f"PostgreSQL log {log_address.place(self._given)}, schema {schema}"
        self._readers: _Pool | None = None
        self._writers: _Pool | None = None

    async def connect(self) -> None:
        """Prepare to connect: the first block does. Raise StoreError for a DSN that is not valid."""
        if self._problem is not None:
            raise StoreError(self._problem)
        dsn = make_conninfo(self._dsn, **log_address.defaults(self._given, self.timeout))
        self._readers, self._writers = _Pool(dsn, READERS), _Pool(dsn, WRITERS)
        abandon_in_children(self)

    def abandon(self, parent: int) -> None:  # noqa: ARG002 - the store says in its errors who has opened it
        """Forget the connections in a forked child: they are those of the parent, and the driver ends none of them."""
        self._readers = self._writers = None

    async def close(self) -> None:
        """Close all connections."""
        pools, self._readers, self._writers = (self._readers, self._writers), None, None
        for pool in pools:
            if pool is not None:
                await pool.close()

    @property
    def is_connected(self) -> bool:
        """Whether `connect` was called, and `close` was not."""
        return self._readers is not None

    @asynccontextmanager
    async def borrowed(self) -> AsyncIterator[Server]:
        """Yield this server while it is connected, otherwise another one, which is closed afterwards."""
        if self.is_connected:
            yield self
        else:
            async with self.apart() as other:
                yield other

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[Server]:
        """Yield the same server with other connections, which are closed afterwards: long work holds nothing up."""
        other = Server(self._dsn, self.schema, self.timeout)
        await other.connect()
        try:
            yield other
        finally:
            await other.close()

    @asynccontextmanager
    async def reading(self, limit_s: float | None = None) -> AsyncIterator[Connection]:
        """Lend a connection for reads, and limit how long they take, by default to `timeout`."""
        async with self._lent(self._readers, limit_s or self.timeout) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self, limit_s: float | None = None) -> AsyncIterator[Connection]:
        """Lend a connection for writes, which do not wait for reads."""
        async with self._lent(self._writers, limit_s or self.timeout) as connection:
            yield connection

    @asynccontextmanager
    async def _lent(self, pool: _Pool | None, limit_s: float) -> AsyncIterator[Connection]:
        if pool is None:
            raise StoreError(f"{self.address} is not open: use the store inside `async with store:`")
        try:
            async with asyncio.timeout(limit_s), pool.lent() as link:
                yield Connection(link, self.quoted, self.timeout)
        except (psycopg.Error, OSError) as exc:  # TimeoutError is an OSError
            raise translate(exc, self.address) from exc

    @asynccontextmanager
    async def direct(self) -> AsyncIterator[Connection]:
        """Connect for the block, for LISTEN, which needs its own session; there is no time limit inside."""
        if self._readers is None:
            raise StoreError(f"{self.address} is not open: use the store inside `async with store:`")
        pool = _Pool(self._readers._dsn, 1)  # noqa: SLF001 - the same module
        try:
            async with pool.lent() as link:
                yield Connection(link, self.quoted, self.timeout)
        except (psycopg.Error, OSError) as exc:
            raise translate(exc, self.address) from exc
        finally:
            await pool.close()


def _given(dsn: str) -> tuple[dict[str, Any], str | None]:
    """Return the options of a DSN, and what is wrong with it."""
    try:
        return log_address.parse(dsn), None
    except ValueError as exc:
        return {}, f"`dsn` is not a connection string of PostgreSQL: {exc}"
