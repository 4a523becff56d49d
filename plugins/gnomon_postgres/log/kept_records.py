"""Checkpoints of plugins and log lines of runs, which are not part of the order of the log."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gnomon.domain.records import Checkpoint, LogLine
from gnomon_postgres.schema.view_tables import shown
from gnomon_postgres.server import Connection

_PUT_CHECKPOINT = """INSERT INTO {schema}.checkpoints AS saved (name, position, view) VALUES (%s, %s, %s)
    ON CONFLICT (name) DO UPDATE SET position = excluded.position, view = excluded.view
    WHERE excluded.position >= saved.position
    RETURNING set_config('synchronous_commit', 'on', true)"""
_CHECKPOINT = "SELECT position, view FROM {schema}.checkpoints WHERE name = %s"
_NAMES = "SELECT name FROM {schema}.checkpoints ORDER BY name"
_PUT_LINES = """INSERT INTO {schema}.log_lines (execution_id, number, body)
    SELECT %s, number, body FROM unnest(%s::bigint[], %b::bytea[]) AS line (number, body)
    ON CONFLICT (execution_id, number) DO UPDATE SET body = excluded.body"""
_DROP_LINES = "DELETE FROM {schema}.log_lines WHERE execution_id = %s AND number < %s"
_LINES = """SELECT body FROM {schema}.log_lines WHERE execution_id = %s AND number > %s ORDER BY number LIMIT %s"""

_decode_line = msgspec.json.Decoder(LogLine).decode


async def put_checkpoints(connection: Connection, checkpoints: Mapping[str, Checkpoint]) -> None:
    """Save checkpoints; one with a lower position than the saved one is ignored."""
    for name, checkpoint in checkpoints.items():
        await connection.execute(_PUT_CHECKPOINT, (shown(name), checkpoint.position, checkpoint.view))


async def checkpoint(connection: Connection, name: str) -> Checkpoint | None:
    """Return the checkpoint with that name, or None."""
    found = await connection.fetch_one(_CHECKPOINT, (shown(name),))
    return Checkpoint(*found) if found is not None else None


async def checkpoint_names(connection: Connection) -> list[str]:
    """Return the names of all checkpoints, sorted."""
    return [name for (name,) in await connection.fetch(_NAMES)]


async def put_lines(connection: Connection, execution_id: str, lines: Mapping[int, bytes]) -> None:
    """Save encoded lines of a run by their numbers; a line replaces one with the same number."""
    if lines:
        await connection.execute(_PUT_LINES, (execution_id, list(lines), list(lines.values())))


async def drop_lines(connection: Connection, execution_id: str, oldest: int) -> None:
    """Delete the lines of a run with numbers below `oldest`."""
    await connection.execute(_DROP_LINES, (execution_id, oldest))


async def lines(connection: Connection, execution_id: str, after: int, limit: int) -> list[LogLine]:
    """Return up to `limit` lines of a run with numbers greater than `after`, in order."""
    found = await connection.fetch(_LINES, (shown(execution_id), after, max(limit, 0)))
    return [_decode_line(body) for (body,) in found]
