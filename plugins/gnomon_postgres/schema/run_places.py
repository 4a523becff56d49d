"""Where a finished run is, by its id: the server looks for it in a few partitions first, and in all of them last.

To plan a scan of each partition takes longer than all of these scans, and each table with its indexes is locked for it.
The ids of most runs begin with a time, that of their fire or trigger (gnomon.domain.execution), and their timestamp is
hardly later. Such a run is in a partition that has timestamps of that time, by `partitions`. Others may be in any: runs
with a key, repeated ones, and those that waited for long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from gnomon_postgres.schema.view_tables import shown
from gnomon_postgres.server import Connection, Row

USUAL_WAIT: Final = timedelta(minutes=10)
"""Between the time in an id and the timestamp of the run, at most, of those that are found in the first partitions."""
_DIGITS: Final = 8
"""Of an id: the seconds since 1970, in hexadecimal."""

_PLACES: Final = """SELECT first, next{nothing} FROM {{schema}}.partitions WHERE EXISTS (
        SELECT FROM unnest(%(times)s::timestamptz[]) AS time WHERE oldest <= time + %(wait)s AND newest >= time)"""
_LIVE: Final = """SELECT NULL::bigint, NULL::bigint, {columns} FROM {{schema}}.live WHERE id = ANY(%(ids)s::text[])
    UNION ALL """
_ENDED: Final = "SELECT {columns} FROM {{schema}}.ended WHERE id = ANY(%(ids)s::text[]) AND ({bounds})"


async def find_runs(connection: Connection, columns: Collection[str], ids: Collection[str]) -> list[Row]:
    """Return some columns of these runs, finished or not, in no order.

    A run that ends between two statements is found by the first one.
    """
    ids = set(ids)
    sql = (_LIVE + _PLACES).format(nothing=", NULL" * len(columns), columns=", ".join(columns))
    found = await connection.fetch(sql, _values(ids)) if ids else []
    live = [tuple(row) for first, _, *row in found if first is None]
    places = [row[:2] for row in found if row[0] is not None]
    return live + await _ended(connection, columns, ids, places, len(ids) - len(live))


async def find_ended(connection: Connection, columns: Collection[str], ids: Collection[str]) -> list[Row]:
    """Return some columns of those of these runs that have ended, in no order."""
    ids = set(ids)
    places = await connection.fetch(_PLACES.format(nothing=""), _values(ids))
    return await _ended(connection, columns, ids, places, len(ids))


async def _ended(
    connection: Connection, columns: Collection[str], ids: Collection[str], places: Iterable[Row], wanted: int
) -> list[Row]:
    """Return so many of these runs, if there are as many: out of some partitions, or else out of all."""
    rows: list[Row] = []
    bounds = " OR ".join(f"final >= {first} AND final < {following}" for first, following in _joined(places))
    for where in (bounds, "true"):
        if where and len(rows) < wanted:
            sql = _ENDED.format(columns=", ".join(columns), bounds=where)
            rows = await connection.fetch(sql, {"ids": list(map(shown, ids))})
    return rows


def _joined(places: Iterable[Row]) -> list[list[int]]:
    """Return partitions as stretches of positions: those side by side as one."""
    stretches: list[list[int]] = []
    for first, following in sorted(places):
        if stretches and first <= stretches[-1][1]:
            stretches[-1][1] = following
        else:
            stretches.append([first, following])
    return stretches


def _values(ids: Collection[str]) -> dict[str, object]:
    times = {time for run_id in ids if (time := _time_in(run_id)) is not None}
    return {"times": sorted(times), "wait": USUAL_WAIT, "ids": list(map(shown, ids))}


def _time_in(run_id: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(run_id[:_DIGITS], 16), UTC)
    except ValueError:
        return None
