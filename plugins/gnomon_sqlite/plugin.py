"""What the config file enables: the SQLite store, and a daily job that keeps the log from growing for ever."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gnomon.durations import Duration
from gnomon.hookspecs import hookimpl
from gnomon.ports import Store
from gnomon_sqlite.database import Synchronous
from gnomon_sqlite.store import SqliteStore
from gnomon_sqlite.trial import try_file


class SqlitePlugin:
    """Provides the SQLite store; with `retention` it forgets, once a day, what ended longer ago than that."""

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        """`path` is counted from the config's folder; "NORMAL" may lose the newest events in a power cut."""

        path: Path = Path("gnomon.db")
        synchronous: Synchronous = "FULL"
        retention: Duration | None = None

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.store = SqliteStore(self.config.path, synchronous=self.config.synchronous)

    @hookimpl
    def register_store(self, register: Callable[[Store], None]) -> None:
        """Offer the store."""
        register(self.store)

    @hookimpl
    def register_jobs(self, register: Callable[..., None]) -> None:
        """Offer the job that prunes, where the config sets a retention."""
        if self.config.retention is None:
            return
        register(
            id="sqlite.retention",
            func=self.prune,
            name="Forget old executions",
            description=f"Deletes what ended more than {self.config.retention} ago, with its events and log lines.",
            cron="30 3 * * *",
        )

    @hookimpl
    def try_connection(self) -> str:
        """Look at the log, or at the place where it would be made."""
        return try_file(self.store.path)

    async def prune(self) -> int:
        """Forget what is older than the retention; returns how many executions that were."""
        if self.config.retention is None:
            return 0
        return await self.store.prune(datetime.now(UTC) - self.config.retention)
