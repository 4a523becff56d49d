"""The chain of a stream: each row of the log has, for each of its events, the position of the one before it.

A chain is followed from its end to its beginning, in stretches of the log whose bounds are constants for the planner:
it looks at few partitions then, also where the log has a thousand. Most streams are those of runs, whose events lie in
one stretch. The stretches grow, so that a stream with few events over years takes few statements as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Final

from gnomon.stores.commit_rows import EVENTS_PER_ROW
from gnomon_postgres.server import Connection

STRETCH: Final = 2**17
"""Positions of the first stretch; a partition has this many, or more."""

# The row of an event is the one with the greatest `first` up to its position.
_ROW: Final = """SELECT first, (convert_from(previous, 'UTF8')::jsonb ->> ({position} - first)::int)::bigint AS before
    FROM {{schema}}.commits
    WHERE first <= {position} AND first > %(begin)s::bigint - {size} AND first <= %(end)s ORDER BY first DESC LIMIT 1"""
_STRETCH: Final = f"""WITH RECURSIVE chain (last, position, first, before) AS (
        SELECT wanted.last, wanted.position, row.first, row.before
        FROM unnest(%(lasts)s::bigint[], %(positions)s::bigint[]) AS wanted (last, position)
        CROSS JOIN LATERAL ({_ROW.format(position="wanted.position", size=EVENTS_PER_ROW)}) AS row
        UNION ALL SELECT chain.last, chain.before, row.first, row.before
        FROM chain CROSS JOIN LATERAL ({_ROW.format(position="chain.before", size=EVENTS_PER_ROW)}) AS row
        WHERE chain.before > %(begin)s)
    SELECT last, position, first, before FROM chain"""  # noqa: S608 - our own names


async def chain(connection: Connection, last: int) -> list[tuple[int, int]]:
    """Return the positions of the events of a stream that ends at `last`, newest first, with `first` of their rows."""
    return (await chains(connection, [last])).get(last, []) if last else []


async def chains(connection: Connection, lasts: Collection[int]) -> dict[int, list[tuple[int, int]]]:
    """Return the same for several streams, by their ends."""
    found: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    following = {last: last for last in lasts if last > 0}
    size = STRETCH
    while following:
        end = max(following.values())
        begin = max(end - size, 0)
        wanted = {last: position for last, position in following.items() if position > begin}
        bounds = {"begin": begin, "end": end, "lasts": [*wanted], "positions": [*wanted.values()]}
        for last in wanted:
            del following[last]
        for last, position, first, before in await connection.fetch(_STRETCH, bounds):
            found[last].append((position, first))
            if before is not None and 0 < before <= begin:
                following[last] = before
        size *= 2
    for places in found.values():
        places.sort(reverse=True)
    return found


def by_row(places: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    """Return the indexes of events in their rows, by `first` of the row, from what `chain` returns."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for position, first in places:
        found[first].append(position - first)
    return found
