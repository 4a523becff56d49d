"""Files views behind the events they follow from: one transaction for each group, which moves `log.filed` with it.

The row of `log` is locked first, so that groups are filed in order, also by two kernels of which one does not know yet
that it no longer leads. A group that is filed already is skipped: a group comes again where the answer was lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from gnomon.domain.events import JOB_STREAM
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.stores.run_counts import Cell, cell_of, changes
from gnomon.stores.view_columns import end_of
from gnomon_postgres.log import event_reads
from gnomon_postgres.schema.partitions import REACH, Partition, Partitions
from gnomon_postgres.schema.run_places import find_ended
from gnomon_postgres.schema.view_rows import (
    ACT,
    FIRES,
    JOB,
    VIEW,
    Columns,
    act_row,
    arrays,
    copy,
    encode_view,
    fires_row,
    given,
    job_row,
    names,
    row_of,
)
from gnomon_postgres.schema.view_tables import ALL_PARTS
from gnomon_postgres.server import Connection, Row
from gnomon_postgres.views.view_batch import ViewBatch
from gnomon_shared_log.errors import Refusal

ENDED: Final[Columns] = (*VIEW, ("final", "int8"), ("is_split", "bool"))
_COUNTED: Final[Columns] = (
    ("part", "int8"),
    ("job_id", "text"),
    ("status", "text"),
    ("is_manual", "bool"),
    ("hidden", "bool"),
    ("n", "int8"),
)
_STREAM: Final[Columns] = (("name", "text"), ("version", "int8"), ("last", "int8"))
_TIMES: Final[Columns] = (
    ("first", "int8"),
    ("oldest", "timestamptz"),
    ("newest", "timestamptz"),
    ("latest_end", "timestamptz"),
    ("begun_at", "timestamptz"),
)
_LOCK_LOG = "SELECT filed FROM {schema}.log FOR UPDATE"
_TAKE_LIVE = "DELETE FROM {schema}.live WHERE id = ANY(string_to_array(%s, ',')) RETURNING id, began"
_CHANGE_ENDED = """UPDATE {schema}.ended SET version = %s, last = %s, hidden = %s, ended_at = %s, body = %s
    WHERE id = %s AND final = %s"""
_COUNT = f"""INSERT INTO {{schema}}.counts AS known ({names(_COUNTED)}) SELECT * FROM {given(_COUNTED)}
    ON CONFLICT (job_id, part, status, is_manual, hidden) DO UPDATE SET n = known.n + excluded.n"""  # noqa: S608
_NOTE_TIMES = f"""UPDATE {{schema}}.partitions AS known SET
        oldest = least(known.oldest, new.oldest), newest = greatest(known.newest, new.newest),
        latest_end = greatest(known.latest_end, new.latest_end), begun_at = coalesce(known.begun_at, new.begun_at)
    FROM {given(_TIMES)} WHERE known.first = new.first"""  # noqa: S608 - our own names
_PUT_STREAMS = f"""INSERT INTO {{schema}}.streams ({names(_STREAM)}) SELECT * FROM {given(_STREAM)}
    ON CONFLICT (name) DO UPDATE SET version = excluded.version, last = excluded.last"""  # noqa: S608 - our own names
_PUT_LASTING = """INSERT INTO {schema}.lasting (first) SELECT DISTINCT (
        SELECT max(first) FROM {schema}.commits WHERE first <= position AND first > %s AND first <= %s)
    FROM unnest(%s::bigint[]) AS position ON CONFLICT DO NOTHING"""
_PUT_ACTS = f"INSERT INTO {{schema}}.acts ({names(ACT)}) SELECT * FROM {given(ACT)} ON CONFLICT DO NOTHING"  # noqa: S608
_PUT_JOBS = f"""INSERT INTO {{schema}}.job_states ({names(JOB)}) SELECT * FROM {given(JOB)}
    ON CONFLICT (id) DO UPDATE SET removed_at = excluded.removed_at, body = excluded.body"""  # noqa: S608 - our own names
_PUT_FIRES = f"""INSERT INTO {{schema}}.fires ({names(FIRES)}) SELECT * FROM {given(FIRES)}
    ON CONFLICT (job_id) DO UPDATE SET last_fire = excluded.last_fire, newest_fire = excluded.newest_fire"""  # noqa: S608


async def lock_log(connection: Connection) -> int:
    """Lock what everything that changes views locks first; return the position up to which views are filed."""
    found = await connection.fetch_one(_LOCK_LOG)
    if found is None:
        raise Refusal(event_reads.NO_ROW)
    return int(found[0])


async def file_views(connection: Connection, views: ViewBatch, partitions: Partitions) -> None:
    """File views in the caller's transaction, which has locked the log, right behind those that are filed."""
    await _put_runs(connection, views, partitions)
    others = [(name, *end) for name, end in views.ends.items() if name not in views.executions]
    await _put(connection, _PUT_STREAMS, others)
    changed = [name.removeprefix(JOB_STREAM) for name in views.ends if name.startswith(JOB_STREAM)]
    await put_jobs(connection, views.jobs.values(), [views.jobs[one] for one in changed if one in views.jobs])
    await _put(connection, _PUT_ACTS, [act_row(position, act) for position, act in views.acts])
    if views.lasting:
        bounds = min(views.lasting) - REACH, max(views.lasting)  # constants for the planner
        await connection.execute(_PUT_LASTING, (*bounds, views.lasting))
    await connection.execute("UPDATE {schema}.log SET filed = %s", (views.last,))


async def put_jobs(connection: Connection, states: Iterable[JobState], changed: Iterable[JobState]) -> None:
    """Write the fires of jobs, and the whole states of those that have changed otherwise."""
    await _put(connection, _PUT_JOBS, map(job_row, changed))
    await _put(connection, _PUT_FIRES, map(fires_row, states))


async def _put_runs(connection: Connection, views: ViewBatch, partitions: Partitions) -> None:
    began = await _began(connection, views)
    ended: list[tuple[Execution, Partition]] = []
    live: list[Row] = []
    for view in views.executions.values():
        if view.id not in began:
            await _change_ended(connection, view, views, partitions)
        elif view.is_over:
            ended.append((view, await partitions.part_of(connection, views.ends[view.id][1])))
        else:
            live.append(row_of(view, views.ends[view.id], began[view.id]))
    if live:
        await copy(connection, "live", VIEW, live)
    if ended:
        rows = (_ended_row(row_of(view, views.ends[view.id], began[view.id]), part) for view, part in ended)
        await copy(connection, "ended", ENDED, rows)
        await _note_ended(connection, ended, views.since)


async def _began(connection: Connection, views: ViewBatch) -> dict[str, int]:
    """Return where runs began that have not ended before, and take their older views away."""
    older = [execution_id for execution_id in views.executions if execution_id not in views.began]
    found = await connection.fetch(_TAKE_LIVE, (",".join(older),)) if older else []
    return {**views.began, **dict(found)}


def _ended_row(row: Row, part: Partition) -> Row:
    _, _, last, began, *_ = row
    return *row, max(last, part.first), began < part.first + REACH


async def _note_ended(
    connection: Connection, ended: Iterable[tuple[Execution, Partition]], since: datetime | None
) -> None:
    """Count runs that have just ended, and note their times; `since` is that of the first event of the group."""
    by_part: defaultdict[int, list[Execution]] = defaultdict(list)
    for view, part in ended:
        by_part[part.first].append(view)
    times: list[Row] = []
    for first, some in by_part.items():
        await count(connection, first, [cell_of(view) for view in some], [])
        moments = [view.timestamp for view in some]
        times.append((first, min(moments), max(moments), max(view.updated_at for view in some), since))
    await _put(connection, _NOTE_TIMES, times)


async def _change_ended(connection: Connection, view: Execution, views: ViewBatch, partitions: Partitions) -> None:
    """Change a run that had ended before: a late result has arrived, or the record was hidden."""
    version, last = views.ends[view.id]
    found = await find_ended(connection, ("id", "final", "hidden"), [view.id])
    if not found:
        return  # its record has been deleted, and with it all of its events
    ((run_id, final, was_hidden),) = found
    values = version, last, view.hidden, end_of(view), encode_view(view), run_id, final
    await connection.execute(_CHANGE_ENDED, values)
    first = (await partitions.part_of(connection, final)).first
    cell = cell_of(view)
    await count(connection, first, [cell], [(*cell[:3], was_hidden)])
    await _put(connection, _NOTE_TIMES, [(first, view.timestamp, view.timestamp, end_of(view), None)])


async def count(connection: Connection, part: int, added: Sequence[Cell], removed: Sequence[Cell]) -> None:
    """Update the counts after rows of a partition were added to `ended`, or removed from it."""
    rows = changes(added, removed)
    await _put(connection, _COUNT, [(number, *row) for number in (part, ALL_PARTS) for row in rows])


async def _put(connection: Connection, statement: str, rows: Iterable[Row]) -> None:
    if some := list(rows):
        await connection.execute(statement, arrays(some))
