"""What is missing in the schema of a log, because another program has dropped or emptied it.

    what is missing                                      a start
    views of the log, indexes, the views for SQL         makes it again, and folds views from the log
    the lease, and orders whose senders wait             makes it again, empty
    log lines, late ends, orders of transactions         makes it again if the loss is accepted, and refuses else
    events, and what says how far plugins have come      refuses: only a backup has it

Only a kernel that leads does so; one that is to lead makes the lease.

Columns, constraints and the rights of roles are not looked at: the server names them where they are missing. A table
counts as emptied only where no log has it empty: one without checkpoints may belong to a kernel that was killed early.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from gnomon_postgres.schema import log_tables, order_tables, sql_views, view_tables
from gnomon_postgres.schema.partitions import attachment
from gnomon_postgres.server import SNAPSHOT, Connection, Server

STATEMENTS: Final = (
    *log_tables.STATEMENTS,
    *view_tables.STATEMENTS,
    *sql_views.STATEMENTS,
    *order_tables.STATEMENTS,
)
"""What makes everything, in an empty schema."""
LEASE: Final = "INSERT INTO {schema}.lease DEFAULT VALUES"
"""What makes its row."""

_MAKES = re.compile(
    r"CREATE (?:UNIQUE )?(?:TABLE|INDEX|VIEW|FUNCTION) (?:\{schema\}\.)?(?P<name>\w+)"
    r"|CREATE (?:CONSTRAINT )?TRIGGER (?P<trigger>\w+) AFTER INSERT ON \{schema\}\.(?P<table>\w+)"
)
_THERE = """SELECT relname::text FROM pg_class WHERE relnamespace = %(schema)s::regnamespace
    UNION SELECT proname::text FROM pg_proc WHERE pronamespace = %(schema)s::regnamespace
    UNION SELECT tgname || ' on ' || relname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
        WHERE relnamespace = %(schema)s::regnamespace"""
_HAS_SCHEMA = "SELECT FROM pg_namespace WHERE nspname = %s"
_PARTITIONS = "SELECT first, next, is_bare FROM {schema}.partitions ORDER BY first"
_EMPTIED = """SELECT name FROM (VALUES
        ('log', EXISTS (SELECT FROM {schema}.log)),
        ('lease', EXISTS (SELECT FROM {schema}.lease)),
        ('order_looks', EXISTS (SELECT FROM {schema}.order_looks)),
        ('partitions', EXISTS (SELECT FROM {schema}.partitions)),
        ('streams', EXISTS (SELECT FROM {schema}.streams) OR NOT EXISTS (SELECT FROM {schema}.lasting)),
        ('lasting', EXISTS (SELECT FROM {schema}.lasting) OR NOT EXISTS (SELECT FROM {schema}.streams))
    ) AS found (name, has_rows) WHERE NOT has_rows"""
# The bounds of partitions are those of the tables of the log.
_REGISTER = r"""INSERT INTO {{schema}}.partitions (first, next, is_bare)
    SELECT bounds[1]::bigint, bounds[2]::bigint, to_regclass(format('%s.%I', '{schema}', 'ended_' || bounds[1])) IS NULL
    FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid CROSS JOIN LATERAL
        regexp_match(pg_get_expr(relpartbound, c.oid), 'FROM \(''(\d+)''\) TO \(''(\d+)''\)') AS bounds
    WHERE inhparent = '{schema}.commits'::regclass"""
_LOG: Final = frozenset({"log", "commits", "checkpoints"})
_ACCEPTABLE: Final = frozenset({"log_lines", "late_ends", "transactional_orders"})
_LEASE: Final = frozenset({"lease", "lease_term"})
_VIEWS: Final = frozenset(
    {"streams", "lasting", *re.findall(r"TABLE {schema}\.(\w+)", "".join(view_tables.STATEMENTS))}
)
_PARTITION = re.compile(r"(commits|ended)_\d+")


def _key(statement: str) -> str:
    found = _MAKES.match(statement)
    if found is None:
        raise ValueError(f"not a statement that makes something with a name: {statement}")
    return found["name"] or f"{found['trigger']} on {found['table']}"


_MADE: Final = {_key(statement): statement for statement in STATEMENTS if statement.startswith("CREATE")}


def is_own(table: str) -> bool:
    """Return whether a table of the schema belongs to the log, by its name."""
    return table in _MADE or _PARTITION.fullmatch(table) is not None


def _is_partition(name: str, table: str) -> bool:
    found = _PARTITION.fullmatch(name)
    return found is not None and found[1] == table


class Missing(msgspec.Struct, frozen=True):
    """What is missing, by name, each with the statement that makes it again.

    `is_all` where nothing of a log is there.
    """

    parts: dict[str, str]
    is_all: bool = False

    @property
    def lost(self) -> list[str]:
        """The tables that no start makes again: what they had is nowhere else."""
        return [name for name in self.parts if name in _LOG or _is_partition(name, "commits")]

    @property
    def acceptable(self) -> list[str]:
        """The tables that a start makes again, empty, if the loss is accepted."""
        return [name for name in self.parts if name in _ACCEPTABLE]

    @property
    def replaceable(self) -> list[str]:
        """What every start makes again."""
        return [name for name in self.parts if name not in {*self.lost, *self.acceptable}]

    @property
    def of_lease(self) -> Missing:
        """The part of it without which no kernel can win the lease."""
        return Missing({name: self.parts[name] for name in self.parts if name in _LEASE})

    @property
    def loses_views(self) -> bool:
        """Whether the views have to be folded again."""
        return any(name in _VIEWS or _is_partition(name, "ended") for name in self.parts)

    def refusal(self, log_name: str, *, accepts: bool = False) -> str | None:
        """Return why no kernel may lead the log like that, None where it may."""
        lost = self.lost or ([] if accepts else self.acceptable)
        if not lost:
            return None
        gone = f"{log_name} has lost {' and '.join(lost)}: another program has dropped or emptied what is missing"
        restore = "restore a backup, of these tables or of the schema, while no kernel runs"
        return f"{gone}; {restore}" + ("" if self.lost else ", or accept the loss: gnomon run --accept-rollback")


async def find_missing(server: Server) -> Missing:
    """Return what is missing in the schema at one moment: a kernel that leads makes and drops partitions meanwhile."""
    async with server.reading() as connection, connection.transaction(SNAPSHOT):
        return await _find_missing(server, connection)


async def _find_missing(server: Server, connection: Connection) -> Missing:
    there = await _there(server, connection)
    if not there & {"log", "commits"}:
        return Missing(_MADE, is_all=True)
    missing = {name: statement for name, statement in _MADE.items() if name not in there}
    if "partitions" in there:
        for first, following, is_bare in await connection.fetch(_PARTITIONS):
            for table in ("commits",) if is_bare else ("commits", "ended"):
                if (name := f"{table}_{first}") not in there:
                    missing[name] = attachment(table, first, following)
    rows = {
        "lease": LEASE,
        "order_looks": order_tables.LOOKS,
        "partitions": _REGISTER.format(schema=server.quoted.replace("'", "''")),
    }
    if missing.keys().isdisjoint({*_LOG, *rows, "streams", "lasting"}):
        missing |= {name: rows.get(name, "") for (name,) in await connection.fetch(_EMPTIED)}
    else:
        missing |= {name: f"{missing[name]}; {row}" for name, row in rows.items() if name in missing}
    return Missing(missing)


def statements(missing: Missing) -> Iterator[str]:
    """Yield what makes all of it again, in order."""
    for statement in missing.parts.values():
        if statement:
            yield statement
    if missing.loses_views:
        yield f"UPDATE {{schema}}.log SET filed = {log_tables.NOT_FOLDED}"  # noqa: S608 - our own number


async def has_schema(server: Server, connection: Connection) -> bool:
    """Return whether the schema of the log is there."""
    return await connection.fetch_one(_HAS_SCHEMA, (server.schema,)) is not None


async def _there(server: Server, connection: Connection) -> set[str]:
    if not await has_schema(server, connection):
        return set()
    return {name for (name,) in await connection.fetch(_THERE, {"schema": server.quoted})}
