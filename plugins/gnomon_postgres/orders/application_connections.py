"""Executes one statement on a connection of an application, in whatever transaction that connection has.

The driver is known by the class of the connection, so none is imported that the application does not use.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn, Protocol, TypeAlias

from gnomon.domain.parameter_checks import SHOWN
from gnomon.errors import ParameterError
from gnomon.safe_text import safe_repr, type_name
from gnomon_postgres.schema.log_tables import problem_of_name

Row: TypeAlias = tuple[Any, ...]

_PLACEHOLDER = re.compile(r"\$(\d+)")
_ADVICE = {
    "3F000": "Gnomon has no log in the schema {schema}: start a kernel with it once, or pass its `schema`",
    "42P01": "Gnomon has no log in the schema {schema}: start a kernel with it once, or pass its `schema`",
    "42501": "the role of this connection lacks a right in the schema {schema}: docs/how-to/transactional-orders.md "
    "has the GRANTs to place orders, and those to find their outcomes",
}


class AsyncExecutor(Protocol):
    """psycopg.AsyncConnection, asyncpg.Connection, or AsyncConnection and AsyncSession of SQLAlchemy."""

    def execute(self, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Execute a statement."""


class Executor(Protocol):
    """psycopg.Connection, or Connection and Session of SQLAlchemy."""

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Execute a statement."""


class CursorMaker(Protocol):
    """The connection of Django: `django.db.connection`, or one of `connections`."""

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Return a cursor."""


AsyncApplicationConnection: TypeAlias = AsyncExecutor
ApplicationConnection: TypeAlias = Executor | CursorMaker


class Statement:
    """A statement with parameters `$1`, `$2` …; `schema` is the name of the log's schema, for errors."""

    def __init__(self, text: str, parameters: Sequence[Any], schema: str) -> None:
        self.parameters = list(parameters)
        self.schema = schema
        self.numbered, self.formatted, self.named = _forms(text, schema)

    @property
    def names(self) -> dict[str, Any]:
        """The parameters by their names."""
        return {f"p{number}": value for number, value in enumerate(self.parameters, 1)}


@functools.lru_cache
def _forms(text: str, schema: str) -> tuple[str, str, str]:
    """Return a statement as asyncpg reads it, as psycopg and Django do, and as SQLAlchemy does; ParameterError.

    The first has its parameters by their numbers, the second in the order of these, and the third by their names.
    """
    if problem := problem_of_name(schema):
        raise ParameterError("schema", f"schema: {problem}, got {safe_repr(schema, SHOWN)}")
    quoted = '"' + schema.replace('"', '""') + '"'
    formatted = _PLACEHOLDER.sub("%s", text.replace("%", "%%"))
    named = _PLACEHOLDER.sub(r":p\1", text.replace(":", "\\:"))
    return (
        text.replace("{schema}", quoted),
        formatted.replace("{schema}", quoted.replace("%", "%%")),
        named.replace("{schema}", quoted.replace(":", "\\:")),
    )


async def fetch_one(connection: AsyncApplicationConnection, statement: Statement) -> Row | None:
    """Execute a statement on an async connection and return its first row; TypeError for any other object."""
    execute = _ASYNC.get(_driver_of(connection))
    if execute is None or not _is_async(connection):
        _refuse(connection, is_async=True)
    _expect_postgres(connection)
    try:
        return await execute(connection, statement)
    except Exception as exc:
        _advise(exc, statement.schema)
        raise


def fetch_one_sync(connection: ApplicationConnection, statement: Statement) -> Row | None:
    """Execute a statement on a connection that is not async and return its first row; TypeError for others."""
    execute = _SYNC.get(_driver_of(connection))
    if execute is None or _is_async(connection):
        _refuse(connection, is_async=False)
    _expect_postgres(connection)
    try:
        return execute(connection, statement)
    except Exception as exc:
        _advise(exc, statement.schema)
        raise


async def _psycopg_async(connection: Any, statement: Statement) -> Row | None:
    # Not `connection.execute`: the application may have chosen other rows, or cursors with other parameters.
    psycopg = _driver_module("psycopg")
    async with psycopg.AsyncCursor(connection, row_factory=psycopg.rows.tuple_row) as cursor:
        await cursor.execute(statement.formatted, statement.parameters)
        row: Row | None = await cursor.fetchone()
        return row


async def _asyncpg(connection: Any, statement: Statement) -> Row | None:
    row = await connection.fetchrow(statement.numbered, *statement.parameters)
    return None if row is None else tuple(row.values())


async def _sqlalchemy_async(connection: Any, statement: Statement) -> Row | None:
    text = _driver_module("sqlalchemy").text(statement.named)
    row = (await connection.execute(text, statement.names)).first()
    return None if row is None else tuple(row)


def _psycopg(connection: Any, statement: Statement) -> Row | None:
    psycopg = _driver_module("psycopg")
    with psycopg.Cursor(connection, row_factory=psycopg.rows.tuple_row) as cursor:
        row: Row | None = cursor.execute(statement.formatted, statement.parameters).fetchone()
        return row


def _sqlalchemy(connection: Any, statement: Statement) -> Row | None:
    text = _driver_module("sqlalchemy").text(statement.named)
    row = connection.execute(text, statement.names).first()
    return None if row is None else tuple(row)


def _django(connection: Any, statement: Statement) -> Row | None:
    with connection.cursor() as cursor:
        cursor.execute(statement.formatted, statement.parameters)
        row = cursor.fetchone()
        return None if row is None else tuple(row)


_ASYNC: dict[str, Callable[[Any, Statement], Awaitable[Row | None]]] = {
    "psycopg": _psycopg_async,
    "asyncpg": _asyncpg,
    "sqlalchemy": _sqlalchemy_async,
}
_SYNC: dict[str, Callable[[Any, Statement], Row | None]] = {
    "psycopg": _psycopg,
    "sqlalchemy": _sqlalchemy,
    "django": _django,
}
_ASYNC_EXPECTED = (
    "a psycopg.AsyncConnection, an asyncpg.Connection, or an AsyncConnection or AsyncSession of SQLAlchemy"
)
_SYNC_EXPECTED = "a psycopg.Connection, a Connection or Session of SQLAlchemy, or the connection of Django"


_CONNECTIONS = {"psycopg": "cursor", "asyncpg": "is_in_transaction", "sqlalchemy": "rollback", "django": "vendor"}
"""What connections of a driver have, and neither its cursors nor its pools and engines do: those of a pool and an
engine would commit by themselves."""


def _driver_module(name: str) -> Any:
    """Return the package of a driver, which the application has imported."""
    return sys.modules[name]


def _driver_of(connection: object) -> str:
    """Return the package of a connection's class, or of one that it derives from; "" for any other object."""
    roots = [kind.__module__.partition(".")[0] for kind in type(connection).__mro__]
    driver = next((root for root in roots if root in _CONNECTIONS), None)
    return driver if driver is not None and hasattr(connection, _CONNECTIONS[driver]) else ""


def _is_async(connection: object) -> bool:
    execute = getattr(type(connection), "execute", None)
    return inspect.iscoroutinefunction(execute) or _driver_of(connection) == "asyncpg"


def _refuse(connection: object, *, is_async: bool) -> NoReturn:
    expected = _ASYNC_EXPECTED if is_async else _SYNC_EXPECTED
    advice = ""
    if _driver_of(connection):  # it is a connection of the other kind
        advice = "; use the function with _sync at the end of its name" if is_async else "; use the one without _sync"
    raise TypeError(f"expected {expected}, got {type_name(connection)}{advice}")


def _expect_postgres(connection: Any) -> None:
    """Raise TypeError for a connection of Django or SQLAlchemy to a database of another product."""
    dialect = getattr(connection, "dialect", None) or getattr(getattr(connection, "bind", None), "dialect", None)
    product = getattr(connection, "vendor", None) or getattr(dialect, "name", None) or "postgresql"
    if product != "postgresql":
        raise TypeError(
            f"expected a connection to PostgreSQL, where the log is, got {type_name(connection)} to {product}: an "
            "order is a row in the database of the log"
        )


def _advise(exc: Exception, schema: str) -> None:
    """Note on an error of the driver what is wrong with the log; the error stays that of the driver."""
    for one in (exc, getattr(exc, "orig", None), exc.__cause__):
        state = getattr(one, "sqlstate", None)
        if isinstance(state, str) and state in _ADVICE:
            exc.add_note(_ADVICE[state].format(schema=repr(schema)))
            return
