"""The bodies of the runs of a page, once it is known which these are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gnomon_postgres.server import Connection, Row

NOT_ENDED: Final = -1
"""Is `final` of a run in `live`."""
# The array of `final` is a constant for the planner, so that it looks at the partitions of the page alone.
_BODIES: Final = """SELECT id, body FROM {schema}.live WHERE id = ANY(%s::text[])
    UNION ALL SELECT ended.id, ended.body FROM unnest(%s::text[], %s::bigint[]) AS page (id, final)
    JOIN {schema}.ended ON ended.id = page.id AND ended.final = page.final AND ended.final = ANY(%s::bigint[])"""


async def read_bodies(connection: Connection, keys: Sequence[Row]) -> list[bytes]:
    """Return the bodies of runs, given by their ids and `final`, in this order; called within a snapshot."""
    if not keys:
        return []
    live = [run_id for run_id, final in keys if final == NOT_ENDED]
    ended = [key for key in keys if key[1] != NOT_ENDED]
    finals = [final for _, final in ended]
    bodies: dict[str, bytes] = dict(
        await connection.fetch(_BODIES, (live, [run_id for run_id, _ in ended], finals, finals))
    )
    return [bodies[run_id] for run_id, _ in keys]
