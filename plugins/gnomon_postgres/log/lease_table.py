"""The row of the leader, which is the fence as well: an append names its owner and epoch, and locks it.

The table has one row for ever. While nobody leads it has no owner, and keeps the newest epoch. A change of the owner or
of the epoch changes a unique index, so it waits for appends in flight, which hold the row FOR KEY SHARE; renewals do
not wait for them, nor they for renewals.
"""

from __future__ import annotations

from typing import Final

from gnomon.errors import DeposedError, StoreUnavailableError
from gnomon_postgres.log.notices import renewed, replaced
from gnomon_postgres.schema.order_tables import CHANNEL
from gnomon_postgres.server import Connection, Row, Server
from gnomon_shared_log.ports.lease_row import LeaseRow, LeaseTable, Term

COLUMNS: Final = (
    "owner, epoch, renewals, seconds, cut_off, node, pid, started, place, since, renewed, expires, renewed_here"
)
# The times of a change are those of the server: they are for people, and no machine compares them with its own.
_CHANGED = """owner = %(owner)s, epoch = %(epoch)s, renewals = %(renewals)s, seconds = %(seconds)s,
    cut_off = %(cut_off)s, node = %(node)s, pid = %(pid)s, started = %(started)s, place = %(place)s,
    renewed = clock_timestamp(), expires = clock_timestamp() + %(seconds)s * interval '1 second',
    renewed_here = %(renewed_here)s"""
# Durable as acknowledged events are, whatever the database has as its default.
_DURABLE: Final = "set_config('synchronous_commit', 'on', true)"
_NOTIFY: Final = f"pg_notify('{CHANNEL}', %(notice)s)"
_READ = f"SELECT {COLUMNS} FROM {{schema}}.lease"  # noqa: S608 - our own names
_HOLD = "SELECT FROM {schema}.lease WHERE owner = %(owner)s AND epoch = %(epoch)s FOR KEY SHARE"
_PUT = f"""UPDATE {{schema}}.lease SET {_CHANGED}, since = clock_timestamp()
    WHERE epoch < %(epoch)s AND (owner, epoch, renewals) IS NOT DISTINCT FROM
        (%(seen_owner)s::text, coalesce(%(seen_epoch)s, epoch), coalesce(%(seen_renewals)s, renewals))
    RETURNING {COLUMNS}, {_DURABLE}, {_NOTIFY}"""  # noqa: S608 - our own names
_CHANGE = f"""UPDATE {{schema}}.lease SET {_CHANGED}
    WHERE owner = %(term_owner)s AND epoch = %(term_epoch)s AND renewals <= %(renewals)s
    RETURNING {COLUMNS}, {_DURABLE}, {_NOTIFY}"""  # noqa: S608 - our own names
_DELETE = f"""UPDATE {{schema}}.lease SET owner = NULL, epoch = epoch + %(more)s
    WHERE owner = %(owner)s AND epoch = %(epoch)s RETURNING {_DURABLE}, {_NOTIFY}"""  # noqa: S608 - our own names


async def read_row(connection: Connection) -> LeaseRow | None:
    """Return the row; None while nobody leads."""
    found = await connection.fetch_one(_READ)
    return row_of(found) if found is not None and found[0] is not None else None


def row_of(found: Row) -> LeaseRow:
    """Return the row that was read with COLUMNS."""
    return LeaseRow(*found[: len(LeaseRow.__struct_fields__)])


class PostgresLeaseTable(LeaseTable):
    """The row of the leader of one log."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def log_name(self) -> str:
        """The log for messages."""
        return self._server.address

    @property
    def where(self) -> str:
        """The table of the row, for messages."""
        return "the table lease"

    async def read(self) -> LeaseRow | None:
        """Return the row; None while nobody leads."""
        async with self._server.reading() as connection:
            return await read_row(connection)

    async def newest_epoch(self) -> int:
        """Return the newest epoch, 0 in a new log."""
        async with self._server.reading() as connection:
            found = await connection.fetch_one(_READ)
        return int(found[1]) if found is not None else 0

    async def put(self, row: LeaseRow, seen: LeaseRow | None) -> LeaseRow | None:
        """Put a row of a new term in the place of the one that was seen; None where it has changed since."""
        owner, epoch, renewals = seen.mark if seen is not None else (None, None, None)
        mark = {"seen_owner": owner, "seen_epoch": epoch, "seen_renewals": renewals}
        return await self._write(_PUT, _fields(row) | mark, replaced(self._server.schema))

    async def change(self, term: Term, row: LeaseRow) -> bool:
        """Renew the row of this term; return False if it is of another one, or newer."""
        values = _fields(row) | {"term_owner": term.owner, "term_epoch": term.epoch}
        schema = self._server.schema
        notice = renewed(row, schema) if row.epoch == term.epoch else replaced(schema)
        return await self._write(_CHANGE, values, notice) is not None

    async def open_to(self, term: Term) -> None:
        """Check that the row, which is the fence, is of this term: appends of earlier ones ended when it became so."""
        async with self._server.writing() as connection:
            await self.check(connection, term)

    async def hold(self, connection: Connection, term: Term) -> None:
        """Keep others from leading until the caller's transaction ends; errors of `check` if this term is over."""
        if await connection.fetch_one(_HOLD, {"owner": term.owner, "epoch": term.epoch}) is None:
            await self.check(connection, term)
            raise StoreUnavailableError(f"{self.log_name} has changed its leader meanwhile: try again")

    async def check(self, connection: Connection, term: Term) -> None:
        """Raise DeposedError if the log is not open to a term; StoreUnavailableError for a later one of its owner."""
        found = await connection.fetch_one(_READ)
        if found is None:
            raise DeposedError(
                f"this kernel leads {self.log_name} no longer: its lease is gone from {self.where}, in which the next "
                "start makes it again"
            )
        owner, epoch, *_ = found
        if owner == term.owner and epoch > term.epoch:
            raise StoreUnavailableError(
                f"this kernel has won the lease of {self.log_name} again, in epoch {epoch}, since it began to append "
                f"in epoch {term.epoch}: the append is repeated"
            )
        if (owner, epoch) != (term.owner, term.epoch):
            taken = f"another kernel took the lease, and leads in epoch {epoch}"
            now = taken if owner else f"its lease was ended, nobody leads since epoch {epoch}"
            raise DeposedError(f"this kernel leads {self.log_name} no longer: {now}; it led in epoch {term.epoch}")

    async def delete(self, term: Term) -> None:
        """Release the row of this term."""
        await self._end(term, 0)

    async def end(self, seen: LeaseRow) -> None:
        """End the term of this row from outside: the next epoch is one in which nobody leads."""
        await self._end(seen.term, 1)

    async def _end(self, term: Term, epochs: int) -> None:
        values = {"owner": term.owner, "epoch": term.epoch, "more": epochs, "notice": replaced(self._server.schema)}
        async with self._server.writing() as connection:
            await connection.execute(_DELETE, values)

    async def _write(self, statement: str, values: dict[str, object], notice: str) -> LeaseRow | None:
        async with self._server.writing() as connection:
            found = await connection.fetch_one(statement, values | {"notice": notice})
        return row_of(found) if found is not None else None


def _fields(row: LeaseRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in LeaseRow.__struct_fields__}
