"""The plugin: its configuration, the MongoDB store, and daily jobs that keep the log from growing without limit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon.hookspecs import hookimpl
from gnomon.ports import Store
from gnomon_mongo.drivers import Driver, DriverName
from gnomon_mongo.store import MongoStore
from gnomon_shared_log.lease_row import CutOff
from gnomon_shared_log.spool_limits import SpoolLimits

MEBIBYTE = 1024 * 1024
SCHEMES = ("mongodb://", "mongodb+srv://")


class MongoPlugin:
    """Provides the MongoDB store, and deletes once a day what is older than `retention` and `progress_retention`."""

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        """See MongoStore. `spool_limit` is in MiB; `spool` is relative to the config file's folder."""

        uri: Secret = Secret("mongodb://127.0.0.1:27017")
        database: str | None = None
        driver: DriverName = "motor"
        spool: Path = Path("gnomon-spool.db")
        spool_limit: int = 256
        spool_age: Duration = Duration(days=1)
        timeout: Duration = Duration(seconds=2)
        patience: Duration = Duration(seconds=30)
        lease: Duration = Duration(seconds=15)
        cut_off: CutOff = "hold"
        retention: Duration | None = None
        progress_retention: Duration | None = None

        def __post_init__(self) -> None:
            """Raise ValueError for an invalid value."""
            if not self.uri.reveal().startswith(SCHEMES):
                raise ValueError(f"uri: expected a connection string that begins with {' or '.join(SCHEMES)}")
            if self.spool_limit < 1:
                raise ValueError(f"spool_limit must be 1 (MiB) or more, got {self.spool_limit}")
            if not Duration(0) < self.timeout < self.lease:
                raise ValueError(f"timeout must be more than 0 and less than lease ({self.lease}), got {self.timeout}")

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.store = MongoStore(
            self.config.uri.reveal(),
            self.config.database,
            driver=Driver(self.config.driver),
            spool=self.config.spool,
            limits=SpoolLimits(self.config.spool_limit * MEBIBYTE, self.config.spool_age),
            timeout=self.config.timeout,
            patience=self.config.patience,
            lease=self.config.lease,
            cut_off=self.config.cut_off,
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
                id="mongo.retention",
                func=self.prune,
                name="Delete old executions",
                description=f"Deletes what ended more than {self.config.retention} ago, with its events and log lines.",
                cron="30 3 * * *",
            )
        if self.config.progress_retention is not None:
            register(
                id="mongo.progress_retention",
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
