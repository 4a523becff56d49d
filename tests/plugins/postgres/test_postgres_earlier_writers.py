"""Sessions that an earlier kernel has left on the server: they do not hold up the one that leads now."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg

from gnomon.domain.records import ExecutionQuery
from gnomon.testing.histories import append, job_added, succeeded
from gnomon_postgres import PostgresStore


async def test_a_kernel_that_was_stopped_while_it_sent_rows_does_not_keep_the_next_one_waiting(
    dsn: str, tmp_path: Path
) -> None:
    async with PostgresStore(dsn, spool=tmp_path / "spool.db") as store:
        await append(store, job_added(), succeeded())

    with closing(psycopg.connect(dsn)) as stopped, psycopg.connect(dsn) as reader:
        stopped.execute("SELECT filed FROM gnomon.log FOR UPDATE")
        stopped.pgconn.exec_(b"COPY gnomon.live FROM STDIN")  # the server waits for rows, as long as nobody ends it
        reader.execute("SELECT filed FROM gnomon.log")

        async with PostgresStore(dsn, spool=tmp_path / "other.db") as following:
            await append(following, succeeded("other"))
            page = await following.executions(ExecutionQuery())

        assert {run.job_id for run in page.items} == {"sync", "other"}
        left = reader.execute("SELECT pid FROM pg_stat_activity WHERE pid = %s", [stopped.info.backend_pid])
        assert left.fetchall() == []
