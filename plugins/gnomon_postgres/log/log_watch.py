"""What a process that follows looks at: the row of the leader, and whether the log has grown."""

from __future__ import annotations

from gnomon_postgres.log.lease_table import COLUMNS, row_of
from gnomon_postgres.server import Server
from gnomon_shared_log.ports.changes import Look

_LOOK = f"""SELECT {COLUMNS},
    EXISTS (SELECT FROM {{schema}}.commits WHERE last > %(after)s AND first > %(after)s - 256)
    FROM {{schema}}.lease"""  # noqa: S608 - our own names


async def look(server: Server, after: int) -> Look:
    """Read both in one request."""
    async with server.reading() as connection:
        found = await connection.fetch_one(_LOOK, {"after": after})
    if found is None:
        return Look(None, has_events=False)
    return Look(row_of(found) if found[0] is not None else None, has_events=found[-1])
