"""The plugin: it provides the SQLite store, and a daily job that prunes the log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gnomon.domain.kernel_health import Role
from gnomon.durations import Duration
from gnomon.hookspecs import hookimpl
from gnomon.ports import Store
from gnomon_sqlite.connection_check import check_connection
from gnomon_sqlite.file.log_file import Synchronous
from gnomon_sqlite.store import MIN_FREE_BYTES, SqliteStore


class SqlitePlugin:
    """Provides the SQLite store; with `retention` a daily job deletes executions that ended longer ago than that."""

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        """`path` is relative to the config's folder; "NORMAL" may lose the newest events in a power cut.

        With less than `min_free_mib` free on the disk the store is degraded, before it cannot write any more.
        """

        path: Path = Path("gnomon.db")
        synchronous: Synchronous = "FULL"
        retention: Duration | None = None
        min_free_mib: int = MIN_FREE_BYTES // 2**20

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.store = SqliteStore(
            self.config.path, synchronous=self.config.synchronous, min_free=self.config.min_free_mib * 2**20
        )

    @hookimpl
    def register_store(self, register: Callable[[Store], None]) -> None:
        """Register the store."""
        register(self.store)

    @hookimpl
    def register_jobs(self, register: Callable[..., None]) -> None:
        """Register the job that prunes, where the config sets a retention."""
        if self.config.retention is None:
            return
        register(
            id="sqlite.retention",
            func=self.prune,
            name="Delete old executions",
            description=f"Deletes runs that ended more than {self.config.retention} ago, with their events and log.",
            cron="30 3 * * *",
        )

    @hookimpl
    def try_connection(self, role: Role) -> str:
        """Check the log, or the place where it would be created."""
        return check_connection(self.store.path, role, self.store.synchronous)

    async def prune(self) -> int:
        """Delete executions older than the retention, and return how many were deleted."""
        if self.config.retention is None:
            return 0
        return await self.store.prune(datetime.now(UTC) - self.config.retention)
