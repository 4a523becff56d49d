"""The plugin: its configuration, the PostgreSQL store, and daily jobs that keep the log from growing without limit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon.hookspecs import hookimpl
from gnomon.ports import Store
from gnomon_postgres.store import PostgresStore
from gnomon_shared_log.lease_row import CutOff
from gnomon_shared_log.spool_limits import SpoolLimits

MEBIBYTE = 1024 * 1024
LONGEST_NAME = 63
"""Bytes of a name: PostgreSQL cuts longer ones off."""


class PostgresPlugin:
    """Provides the PostgreSQL store, and deletes once a day what is older than `retention` and `progress_retention`."""

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        """See PostgresStore. `spool_limit` is in MiB; `spool` is relative to the config file's folder."""

        dsn: Secret = Secret("postgresql://127.0.0.1:5432/gnomon")
        schema: str = "gnomon"
        spool: Path = Path("gnomon-spool.db")
        spool_limit: int = 256
        spool_age: Duration = Duration(days=1)
        timeout: Duration = Duration(seconds=2)
        patience: Duration = Duration(seconds=30)
        lease: Duration = Duration(seconds=15)
        cut_off: CutOff = "hold"
        partition: Duration = Duration(days=1)
        retention: Duration | None = None
        progress_retention: Duration | None = None

        def __post_init__(self) -> None:
            """Raise ValueError for an invalid value; `dsn` is not quoted, it may contain a password."""
            try:
                conninfo_to_dict(self.dsn.reveal())
            except (psycopg.ProgrammingError, UnicodeError):
                raise ValueError(
                    "dsn: not a connection string of PostgreSQL: expected postgresql://USER@HOST:PORT/DATABASE, or "
                    "'host=HOST dbname=DATABASE user=USER'"
                ) from None
            if problem := _problem_of_name(self.schema):
                raise ValueError(f"schema: {problem}, got {self.schema!r}")
            if self.spool_limit < 1:
                raise ValueError(f"spool_limit must be 1 (MiB) or more, got {self.spool_limit}")
            if not Duration(0) < self.timeout < self.lease:
                raise ValueError(f"timeout must be more than 0 and less than lease ({self.lease}), got {self.timeout}")
            if self.partition < Duration(minutes=1):
                raise ValueError(f"partition must be 1m or more, got {self.partition}")

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.store = PostgresStore(
            self.config.dsn.reveal(),
            self.config.schema,
            spool=self.config.spool,
            limits=SpoolLimits(self.config.spool_limit * MEBIBYTE, self.config.spool_age),
            timeout=self.config.timeout,
            patience=self.config.patience,
            lease=self.config.lease,
            cut_off=self.config.cut_off,
            partition=self.config.partition,
        )

    @hookimpl
    def register_store(self, register: Callable[[Store], None]) -> None:
        """Register the store."""
        register(self.store)

    @hookimpl
    def register_jobs(self, register: Callable[..., None]) -> None:
        """Register the retention jobs that the configuration enables."""
        if self.config.retention is not None:
            register(
                id="postgres.retention",
                func=self.prune,
                name="Delete old executions",
                description=f"Deletes what ended more than {self.config.retention} ago, with its events and log lines.",
                cron="30 3 * * *",
            )
        if self.config.progress_retention is not None:
            register(
                id="postgres.progress_retention",
                func=self.prune_progress,
                name="Delete old progress",
                description=f"Deletes progress events of what ended more than {self.config.progress_retention} ago.",
                cron="15 3 * * *",
            )

    @hookimpl
    async def try_connection(self) -> str:
        """Connect to the server as a start would."""
        return await self.store.try_connection()

    async def prune(self) -> int:
        """Delete executions older than `retention`; return how many."""
        if self.config.retention is None:
            return 0
        return await self.store.prune(datetime.now(UTC) - self.config.retention)

    async def prune_progress(self) -> int:
        """Delete progress events of executions older than `progress_retention`; return how many."""
        if self.config.progress_retention is None:
            return 0
        return await self.store.prune_progress(datetime.now(UTC) - self.config.progress_retention)


def _problem_of_name(name: str) -> str | None:
    """Return why a name cannot be that of a schema, or None."""
    if not name or "\0" in name:
        return "expected a name"
    if len(name.encode()) > LONGEST_NAME:
        return f"expected at most {LONGEST_NAME} bytes"
    if name.startswith("pg_"):
        return "names that begin with pg_ belong to the server"
    return None
