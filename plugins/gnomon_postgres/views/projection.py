"""Folds views from events: what is not filed yet, for readers and at a start, and everything, to repair it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from gnomon.domain.events import Event
from gnomon.domain.execution import Execution
from gnomon.domain.job_state import JobState
from gnomon.logs import get_logger
from gnomon.stores.view_folds import concerns_job, fold_jobs, fold_runs
from gnomon_postgres.lists import queries
from gnomon_postgres.log import event_reads
from gnomon_postgres.schema.log_tables import NOT_FOLDED
from gnomon_postgres.schema.partitions import Partitions
from gnomon_postgres.schema.view_rows import FIRES, arrays, given, names
from gnomon_postgres.server import LIST_LIMIT_S, SNAPSHOT, WORK_LIMIT_S, Connection, Server
from gnomon_postgres.views.projection_writer import file_views, lock_log, put_jobs
from gnomon_postgres.views.view_batch import ViewBatch

log = get_logger("gnomon.postgres")

PAGE: Final = 2_000
"""Events that are folded at a time."""
REBUILD_LIMIT_S: Final = 86_400.0
_FIRES = f"SELECT {names(FIRES)} FROM {{schema}}.fires WHERE newest_fire IS NOT NULL"  # noqa: S608 - our own names
_KEEP_FIRES = f"""UPDATE {{schema}}.fires AS known SET last_fire = new.last_fire, newest_fire = new.newest_fire
    FROM {given(FIRES)} WHERE known.job_id = new.job_id
    AND (known.newest_fire IS NULL OR known.newest_fire < new.newest_fire)"""  # noqa: S608 - our own names
_END_EARLIER: Final = """
    WITH earlier AS MATERIALIZED (
        SELECT pid, usename::text AS role FROM pg_locks JOIN pg_stat_activity USING (pid)
            JOIN pg_class ON pg_class.oid = relation JOIN pg_namespace n ON n.oid = relnamespace
        WHERE nspname = %s AND relname = 'log' AND datname = current_database() AND mode = 'RowShareLock' AND granted
            AND pid <> pg_backend_pid() AND pg_has_role(usesysid, 'MEMBER')
    )
    SELECT pid, role FROM (SELECT *, pg_terminate_backend(pid) AS is_ended FROM earlier) AS found WHERE is_ended"""
# What is filed in one transaction is there together: what stands alone has lost the other to another program.
_LACKS_ROWS: Final = """
    SELECT FROM {schema}.streams WHERE name >= 'job:' AND name < 'job;'
        AND NOT EXISTS (SELECT FROM {schema}.job_states WHERE id = substr(name, 5))
    UNION ALL SELECT FROM {schema}.job_states WHERE NOT EXISTS (SELECT FROM {schema}.fires WHERE job_id = id)
    UNION ALL SELECT WHERE EXISTS (SELECT FROM {schema}.counts WHERE n > 0) <> EXISTS (SELECT FROM {schema}.ended)
    LIMIT 1"""
_EMPTY: Final = (
    """TRUNCATE {schema}.live, {schema}.ended, {schema}.counts, {schema}.acts, {schema}.job_states, {schema}.fires,
        {schema}.streams, {schema}.lasting""",
    "UPDATE {schema}.partitions SET oldest = NULL, newest = NULL, latest_end = NULL",
    "UPDATE {schema}.log SET filed = 0",
)


async def file_group(connection: Connection, views: ViewBatch, partitions: Partitions) -> None:
    """File views in the caller's transaction, if they are not filed yet.

    Where others have to be filed before, or some of them are filed already, they are folded from the log instead. The
    states of jobs that come without events replace the stored ones.
    """
    filed = await lock_log(connection)
    if not views.last:
        await put_jobs(connection, views.jobs.values(), views.jobs.values())
    elif views.last > filed:
        following = await event_reads.read(connection, filed, 1) if views.first > filed + 1 else []
        if views.first == filed + 1 or (following and following[0].position == views.first):
            await file_views(connection, views, partitions)
        else:
            await _fold(connection, filed, views.last, partitions)


async def end_earlier_writers(server: Server) -> None:
    """End the sessions in which earlier kernels still have the log locked: this one leads now.

    One of a kernel that was stopped, or cut off, while it sent rows would last: the server waits for the rest of a COPY
    without a limit, and its end is not known as long as its machine confirms what it receives.
    """
    async with server.writing() as connection:
        for pid, user in await connection.fetch(_END_EARLIER, (server.schema,)):
            log.warning("a session of an earlier kernel had the log locked, and is ended", session=pid, role=user)


async def repair(server: Server, partitions: Partitions) -> int:
    """File the views that are not filed, a page in each transaction; return the number of events that were folded.

    Where another program has emptied views, or deleted the states of jobs, all are folded again.
    """
    folded = 0
    while True:
        await partitions.keep_ahead(server)
        async with server.writing(WORK_LIMIT_S) as connection, connection.transaction():
            filed, head = await lock_log(connection), await event_reads.head(connection)
            if filed >= head:
                if await connection.fetch_one(_LACKS_ROWS) is None:
                    return folded
                filed = NOT_FOLDED
            if filed != NOT_FOLDED:
                folded += await _fold_page(connection, filed, head, partitions)
        if filed == NOT_FOLDED:
            log.warning("views were missing: all are built again from the log", log=server.address, events=head)
            return await rebuild(server, partitions)


async def rebuild(server: Server, partitions: Partitions) -> int:
    """Fold all views from the log again, in one transaction; return the number of events.

    What was deleted cannot be folded: an execution whose progress was deleted has none afterwards, and the newest fires
    of jobs stay as they are where they are newer than all that is left of them.
    """
    async with server.writing(REBUILD_LIMIT_S) as connection, connection.transaction():
        await lock_log(connection)
        fires = await connection.fetch(_FIRES)
        for statement in _EMPTY:
            await connection.execute(statement)
        head, folded, filed = await event_reads.head(connection), 0, 0
        while filed < head:
            folded += await _fold_page(connection, filed, head, partitions)
            filed = await event_reads.filed(connection)
        if fires:
            await connection.execute(_KEEP_FIRES, arrays(fires))
    return folded


async def catch_up(connection: Connection, partitions: Partitions) -> None:
    """Lock the log, and file all views that are not filed, in the caller's transaction."""
    filed, head = await lock_log(connection), await event_reads.head(connection)
    await _fold(connection, filed, head, partitions)


async def _fold(connection: Connection, filed: int, last: int, partitions: Partitions) -> None:
    while filed < last:
        await _fold_page(connection, filed, last, partitions)
        filed = await event_reads.filed(connection)


async def _fold_page(connection: Connection, filed: int, last: int, partitions: Partitions) -> int:
    """Fold the next events, up to a position, and file their views; return how many events."""
    events = await event_reads.read(connection, filed, min(PAGE, last - filed))
    events = [event for event in events if event.position <= last]
    views = await _views_of(connection, events)
    if len(events) < PAGE:
        views.last = last  # the positions in between have no event any more
    await file_views(connection, views, partitions)
    return len(events)


async def _views_of(connection: Connection, events: Sequence[Event]) -> ViewBatch:
    begun = {event.stream for event in events if event.version == 1}
    older = {event.stream for event in events} - begun
    views = {view.id: view for view in await queries.executions_by_id(connection, older)}
    changed = fold_runs(views, events)
    job_ids = {event.job_id for event in events if concerns_job(event)}
    states = {state.job_id: state for state in await queries.job_states(connection, job_ids)}
    fold_jobs(states, events)
    return ViewBatch.of(events, (views[one] for one in changed), states.values())


# --- questions of processes that follow ---


async def jobs_after(server: Server, job_ids: Collection[str] | None, *, removed: bool) -> list[JobState]:
    """Read the states of all jobs or of some, and fold the events into them that are not filed."""
    async with server.reading(LIST_LIMIT_S) as connection, connection.transaction(SNAPSHOT):
        states = {state.job_id: state for state in await queries.job_states(connection, job_ids)}
        events = await _unfiled(connection)
    fold_jobs(states, (event for event in events if job_ids is None or event.job_id in job_ids))
    return [states[job_id] for job_id in sorted(states) if removed or not states[job_id].removed]


async def execution_after(server: Server, execution_id: str) -> Execution | None:
    """Read one execution, and fold the events into it that are not filed."""
    async with server.reading() as connection, connection.transaction(SNAPSHOT):
        views = {view.id: view for view in await queries.executions_by_id(connection, [execution_id])}
        view = views.get(execution_id)
        newer = await event_reads.unfiled_of(connection, execution_id, view.version if view is not None else 0)
    fold_runs(views, newer)
    return views.get(execution_id)


async def _unfiled(connection: Connection) -> Iterable[Event]:
    filed, head = await event_reads.filed(connection), await event_reads.head(connection)
    return await event_reads.read(connection, filed, head - filed) if head > filed else ()
