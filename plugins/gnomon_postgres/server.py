"""The connections to one schema of a database: lent for a block, with a time limit and translated errors.

    async with server.reading() as connection:
        rows = await connection.fetch("SELECT first, events FROM {schema}.commits WHERE last > %s", (after,))

Each statement outside `connection.transaction()` is its own transaction. Nothing is kept in a session that a pooler
may lend to others: no setting and no lock that outlives a transaction, and no prepared statement. A statement names its
tables with `{schema}`, which stands for the quoted name of the schema.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any, TypeAlias

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from gnomon.errors import StoreError
from gnomon.forks import abandon_in_children
from gnomon.tasks import protected
from gnomon_postgres import log_address
from gnomon_postgres.errors import has_no_room, translate
from gnomon_postgres.session import READ_COMMITTED, Session

Row: TypeAlias = tuple[Any, ...]
Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]

OLDEST_VERSION = 13
"""The oldest version of PostgreSQL that is supported."""
READERS, WRITERS = 5, 3
"""Connections of each kind. Appends are made one at a time; views and log lines are written beside them."""
MOST_CONNECTIONS = READERS + WRITERS + 1
"""Of a process, with the one that listens; one that leads uses more while it drops partitions."""
LIST_LIMIT_S = 15.0
"""For a list or a count over a long log, which take longer than reading a single row."""
WORK_LIMIT_S = 600.0
"""For one step of background work: creating tables, pruning."""
CANCEL_LIMIT_S = 1.0
SNAPSHOT = "ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""The mode of a transaction whose statements all see the log as it was at the first one."""


class Connection:
    """A connection while it is lent. Rows are tuples; parameters are `%s` or `%(name)s`."""

    def __init__(self, link: Session, schema: str) -> None:
        self.link = link
        self._schema = schema

    async def fetch(self, statement: str, parameters: Parameters | None = None) -> list[Row]:
        """Execute a statement that returns rows, and return all of them."""
        return await (await self._execute(statement, parameters, binary=True)).fetchall()

    async def fetch_one(
        self, statement: str, parameters: Parameters | None = None, *, prepare: bool = False
    ) -> Row | None:
        """Execute a statement that returns rows, and return the first one, or None.

        With `prepare` the server plans it once for the connection, unless that leads through a pooler. The driver sends
        numbers in the smallest type that holds them, and statements of other types are other statements: use Int8.
        """
        prepare = prepare and self.link.is_direct
        return await (await self._execute(statement, parameters, prepare=prepare, binary=True)).fetchone()

    async def execute(self, statement: str, parameters: Parameters | None = None) -> int:
        """Execute a statement; return how many rows it has changed.

        In a transaction, several without parameters may be executed at once; the number is that of the last one then.
        """
        return (await self._execute(statement, parameters)).rowcount

    async def _execute(
        self, statement: str, parameters: Parameters | None, *, prepare: bool | None = None, binary: bool = False
    ) -> psycopg.AsyncCursor[Row]:
        link, text = self.link, self.sql(statement, parameters)
        if link.is_direct or link.pgconn.transaction_status != TransactionStatus.IDLE:
            return await link.execute(text, parameters, prepare=prepare, binary=binary)
        try:
            async with link.pipeline() if psycopg.AsyncPipeline.is_supported() else nullcontext():  # one round trip
                await link.execute(f"BEGIN {READ_COMMITTED}")
                await link.execute(link.settings)
                cursor = await link.execute(text, parameters, binary=binary)
                await link.execute("COMMIT")
        except BaseException:
            await self._roll_back()
            raise
        link.expect_replicas()
        return cursor

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
    async def transaction(self, mode: str = READ_COMMITTED) -> AsyncIterator[None]:
        """Commit what the block has done, or nothing of it; `mode` is what stands after BEGIN, such as SNAPSHOT."""
        await self.link.execute(f"BEGIN {mode}" if self.link.is_direct else f"BEGIN {mode}; {self.link.settings}")
        try:
            yield
            await self.link.execute("COMMIT")
        except BaseException:
            await self._roll_back()
            raise

    async def _roll_back(self) -> None:
        """End a transaction; a connection in any other state is closed, which ends one, too."""
        if self.link.pgconn.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
            with suppress(psycopg.Error):
                await self.link.execute("ROLLBACK")

    @asynccontextmanager
    async def releasing(self) -> AsyncIterator[None]:
        """Release the locks of what the block has read; the transaction around it goes on, with its snapshot."""
        await self.link.execute("SAVEPOINT reading")
        yield
        await self.link.execute("ROLLBACK TO SAVEPOINT reading; RELEASE SAVEPOINT reading")

    def sql(self, statement: str, parameters: Parameters | None = None) -> str:
        """Return a statement with the name of the schema, in which a `%` is doubled where the driver wants that."""
        schema = self._schema if parameters is None else self._schema.replace("%", "%%")
        return statement.replace("{schema}", schema)


class _Pool:
    """Connections of one kind: made when they are needed, and made again after an error.

    Where the server has no room for another one, those that are there are shared: who needs one waits for it, for half
    of the limit at most.
    """

    def __init__(self, dsn: str, size: int, idle_limit_s: float) -> None:
        self._dsn = dsn
        self._idle_limit_s = idle_limit_s
        self._free: list[Session] = []
        self._places = asyncio.Semaphore(size)
        self._lent = self._opening = 0
        self._returned = asyncio.Event()
        self._discarded: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Session]:
        async with self._places:
            link = self._take() or await self._open()
            self._lent += 1
            try:
                yield link
            except psycopg.errors.ReadOnlySqlTransaction:  # of a standby: another server may be the primary by now
                await link.close()
                raise
            finally:
                self._lent -= 1
                if not link.closed and link.pgconn.transaction_status == TransactionStatus.IDLE:
                    self._free.append(link)
                else:
                    self._discard(link)
                self._wake()

    async def _open(self) -> Session:
        """Return a new connection; where the server has no room for one, the next one that is returned."""
        deadline = asyncio.get_running_loop().time() + self._idle_limit_s / 2
        while True:
            returned = self._returned
            self._opening += 1
            try:
                return await Session.open(self._dsn, self._idle_limit_s)
            except psycopg.OperationalError as exc:
                if not has_no_room(exc) or not (self._lent or self._free or self._opening > 1):
                    self._wake()
                    raise
                refusal = exc
            finally:
                self._opening -= 1
            if not self._free:
                try:
                    async with asyncio.timeout_at(deadline):
                        await returned.wait()
                except TimeoutError:
                    raise refusal from None
            if (link := self._take()) is not None:
                return link

    def _wake(self) -> None:
        """Wake those that wait for a connection."""
        self._returned.set()
        self._returned = asyncio.Event()

    def _take(self) -> Session | None:
        while self._free:
            link = self._free.pop()
            if not link.closed and not _has_news(link):
                return link
            self._discard(link)
        return None

    def _discard(self, link: Session) -> None:
        task = protected(_discard(link))
        self._discarded.add(task)
        task.add_done_callback(self._discarded.discard)

    async def close(self) -> None:
        """Close the connections that are not lent."""
        while self._free:
            await self._free.pop().close()
        if self._discarded:
            await asyncio.wait(self._discarded)


def _has_news(link: Session) -> bool:
    """Return whether a server has sent something to an idle connection: it has ended it, as at its own end."""
    poll = select.poll()
    poll.register(link.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


async def _discard(link: Session) -> None:
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
        self._readers, self._writers = (_Pool(dsn, size, self.timeout) for size in (READERS, WRITERS))
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
                yield Connection(link, self.quoted)
        except (psycopg.Error, OSError) as exc:  # TimeoutError is an OSError
            raise translate(exc, self.address) from exc

    @asynccontextmanager
    async def direct(self) -> AsyncIterator[Connection]:
        """Connect for the block, for LISTEN, which needs its own session; there is no time limit inside."""
        if self._readers is None:
            raise StoreError(f"{self.address} is not open: use the store inside `async with store:`")
        pool = _Pool(self._readers._dsn, 1, self.timeout)  # noqa: SLF001 - the same module
        try:
            async with pool.lent() as link:
                yield Connection(link, self.quoted)
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
