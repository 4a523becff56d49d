"""The table of ends of runs from kernels that could not append them, for the kernel that leads."""

from __future__ import annotations

from collections.abc import Sequence

from gnomon.domain import codec
from gnomon.domain.events import Event
from gnomon_postgres.server import Server
from gnomon_shared_log.ports.late_end_table import LateEndTable

MOST_AT_ONCE = 200
_ADD = """INSERT INTO {schema}.late_ends (stream, version, body)
    SELECT * FROM unnest(%s::text[], %s::bigint[], %b::bytea[])
    ON CONFLICT (stream, version) DO UPDATE SET body = excluded.body
    RETURNING set_config('synchronous_commit', 'on', true)"""
_READ = "SELECT body FROM {schema}.late_ends ORDER BY kept, stream, version LIMIT %s"
_DELETE = """DELETE FROM {schema}.late_ends USING unnest(%s::text[], %s::bigint[]) AS done (stream, version)
    WHERE late_ends.stream = done.stream AND late_ends.version = done.version"""


class PostgresLateEndTable(LateEndTable):
    """The late ends of one log."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def add(self, ends: Sequence[Event]) -> None:
        """Keep ends, in place of those of the same stream and version."""
        newest = {(event.stream, event.version): codec.encode(event) for event in ends}
        rows = [(stream, version, body) for (stream, version), body in newest.items()]
        for start in range(0, len(rows), MOST_AT_ONCE):
            async with self._server.writing() as connection:
                columns = [list(column) for column in zip(*rows[start : start + MOST_AT_ONCE], strict=True)]
                await connection.execute(_ADD, columns)

    async def read(self) -> list[Event]:
        """Return the oldest of them in the order in which they came."""
        async with self._server.reading() as connection:
            return [codec.decode(body) for (body,) in await connection.fetch(_READ, (MOST_AT_ONCE,))]

    async def delete(self, ends: Sequence[Event]) -> None:
        """Delete ends, which have been recorded."""
        if ends:
            async with self._server.writing() as connection:
                await connection.execute(_DELETE, ([event.stream for event in ends], [event.version for event in ends]))
