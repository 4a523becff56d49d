"""Applications that use the database of the log: the same transaction with each driver."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from types import TracebackType
from typing import Any

import asyncpg
import django
import psycopg
import sqlalchemy
from django.conf import settings
from django.db import connection as django_connection
from django.db import connections, transaction
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import gnomon_postgres
from gnomon_postgres.orders.application_connections import Statement, fetch_one, fetch_one_sync


class Abort(Exception):
    """Raised in a transaction that is to be rolled back."""


class Transaction:
    """A transaction that is open: `connection` is the driver's, and `run` executes what is not async where it may."""

    def __init__(self, connection: Any, run: Callable[..., Awaitable[Any]] | None) -> None:
        self.connection = connection
        self._run = run

    async def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a function of gnomon_postgres with the connection."""
        if self._run is None:
            return await getattr(gnomon_postgres, name)(self.connection, *args, **kwargs)
        return await self._run(getattr(gnomon_postgres, f"{name}_sync"), self.connection, *args, **kwargs)

    async def execute(self, text: str, *parameters: Any) -> Any:
        """Execute a statement of the application, which returns a row."""
        statement = Statement(text, parameters, "public")
        if self._run is None:
            return await fetch_one(self.connection, statement)
        return await self._run(fetch_one_sync, self.connection, statement)


Begin = Callable[[], AbstractAsyncContextManager[Transaction]]


def _begin_async(manager: Callable[[], AbstractAsyncContextManager[Any]], connection: Any = None) -> Begin:
    @asynccontextmanager
    async def begin() -> AsyncIterator[Transaction]:
        async with manager() as found:
            yield Transaction(connection if connection is not None else found, None)

    return begin


@asynccontextmanager
async def _psycopg(dsn: str) -> AsyncIterator[Begin]:
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=dict_row, autocommit=True) as connection:
        yield _begin_async(connection.transaction, connection)


@asynccontextmanager
async def _asyncpg(dsn: str) -> AsyncIterator[Begin]:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1, statement_cache_size=0) as pool:

        @asynccontextmanager
        async def transaction_of_pool() -> AsyncIterator[Any]:
            async with pool.acquire() as connection, connection.transaction():
                yield connection

        yield _begin_async(transaction_of_pool)


@asynccontextmanager
async def _sqlalchemy_asyncpg(dsn: str) -> AsyncIterator[Begin]:
    engine = create_async_engine(_url(dsn, "asyncpg"), connect_args={"statement_cache_size": 0})
    yield _begin_async(engine.begin)
    await engine.dispose()


@asynccontextmanager
async def _sqlalchemy_async_session(dsn: str) -> AsyncIterator[Begin]:
    engine = create_async_engine(_url(dsn, "psycopg"))

    @asynccontextmanager
    async def session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as opened, opened.begin():
            yield opened

    yield _begin_async(session)
    await engine.dispose()


@asynccontextmanager
async def _in_a_thread(
    open_connection: Callable[[], AbstractContextManager[Any]], close: Callable[[], None] = lambda: None
) -> AsyncIterator[Begin]:
    """Yield a function that begins transactions in one thread: Django refuses to block a loop."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:

        async def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return await asyncio.get_running_loop().run_in_executor(thread, lambda: function(*args, **kwargs))

        @asynccontextmanager
        async def begin() -> AsyncIterator[Transaction]:
            manager = open_connection()
            opened = Transaction(await run(manager.__enter__), run)
            try:
                yield opened
            except BaseException as exc:
                await run(manager.__exit__, type(exc), exc, exc.__traceback__)
                raise
            await run(manager.__exit__, None, None, None)

        try:
            yield begin
        finally:
            await run(close)


class _Entered(AbstractContextManager[Any]):
    """Yields another object than the context manager does."""

    def __init__(self, manager: AbstractContextManager[Any], value: Any) -> None:
        self._manager, self._value = manager, value

    def __enter__(self) -> Any:
        self._manager.__enter__()
        return self._value

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._manager.__exit__(kind, exc, traceback)


@asynccontextmanager
async def _psycopg_sync(dsn: str) -> AsyncIterator[Begin]:
    with psycopg.connect(dsn, row_factory=dict_row, autocommit=True) as connection:
        async with _in_a_thread(lambda: _Entered(connection.transaction(), connection)) as begin:
            yield begin


@asynccontextmanager
async def _sqlalchemy(dsn: str) -> AsyncIterator[Begin]:
    engine = sqlalchemy.create_engine(_url(dsn, "psycopg"))
    async with _in_a_thread(engine.begin) as begin:
        yield begin
    engine.dispose()


@asynccontextmanager
async def _sqlalchemy_session(dsn: str) -> AsyncIterator[Begin]:
    engine = sqlalchemy.create_engine(_url(dsn, "psycopg"))
    async with _in_a_thread(orm.sessionmaker(engine).begin) as begin:
        yield begin
    engine.dispose()


@asynccontextmanager
async def _django(dsn: str) -> AsyncIterator[Begin]:
    given = conninfo_to_dict(dsn)
    if not settings.configured:
        databases = {"default": {"ENGINE": "django.db.backends.postgresql"}}
        settings.configure(USE_TZ=True, LOGGING_CONFIG=None, DATABASES=databases)
        django.setup()
    place = {"NAME": given["dbname"], "USER": given["user"], "HOST": given["host"], "PORT": given["port"]}
    connections.databases["default"].update(place)
    manager = lambda: _Entered(transaction.atomic(), django_connection)  # noqa: E731
    async with _in_a_thread(manager, connections.close_all) as begin:
        yield begin


def _url(dsn: str, driver: str) -> str:
    return dsn.replace("postgresql://", f"postgresql+{driver}://")


APPLICATIONS: dict[str, Callable[[str], AbstractAsyncContextManager[Begin]]] = {
    "psycopg": _psycopg,
    "psycopg-sync": _psycopg_sync,
    "asyncpg": _asyncpg,
    "sqlalchemy": _sqlalchemy,
    "sqlalchemy-session": _sqlalchemy_session,
    "sqlalchemy-async-asyncpg": _sqlalchemy_asyncpg,
    "sqlalchemy-async-session": _sqlalchemy_async_session,
    "django": _django,
}
"""Opens a connection of an application and yields a function that begins a transaction on it."""
