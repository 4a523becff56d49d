"""The plugin of a store on a server: its keys, apart from those of the server, and its daily jobs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from gnomon.config_table import ConfigTable
from gnomon.domain.kernel_health import Role
from gnomon.durations import Duration
from gnomon.hookspecs import hookimpl
from gnomon.ports import Store
from gnomon_shared_log.ports.lease_row import CutOff
from gnomon_shared_log.shared_log import SharedLog
from gnomon_shared_log.writing.spool_limits import SpoolLimits

MEBIBYTE = 1024 * 1024


class StoreSettings(TypedDict):
    """The parameters that every store on a server has."""

    spool: Path
    limits: SpoolLimits
    timeout: Duration
    patience: Duration
    lease: Duration
    cut_off: CutOff


class ServerStoreConfig(ConfigTable, forbid_unknown_fields=True):
    """What a deployment may set, whatever the server. `spool_limit` is in MiB."""

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
        if self.spool_limit < 1:
            raise ValueError(f"spool_limit must be 1 (MiB) or more, got {self.spool_limit}")
        if not Duration(0) < self.timeout < self.lease:
            raise ValueError(f"timeout must be more than 0 and less than lease ({self.lease}), got {self.timeout}")

    @property
    def settings(self) -> StoreSettings:
        """The parameters of the store."""
        return {
            "spool": self.spool,
            "limits": SpoolLimits(self.spool_limit * MEBIBYTE, self.spool_age),
            "timeout": self.timeout,
            "patience": self.patience,
            "lease": self.lease,
            "cut_off": self.cut_off,
        }


class ServerStorePlugin:
    """Provides a store, and deletes once a day what is older than `retention` and `progress_retention`."""

    config: ServerStoreConfig
    store: SharedLog[Any]

    @hookimpl
    def register_store(self, register: Callable[[Store], None]) -> None:
        """Register the store."""
        register(self.store)

    @hookimpl
    def register_jobs(self, register: Callable[..., None]) -> None:
        """Register the retention jobs that the configuration enables."""
        if self.config.retention is not None:
            register(
                id=f"{self.store.name}.retention",
                func=self.prune,
                name="Delete old executions",
                description=f"Deletes what ended more than {self.config.retention} ago, with its events and log lines.",
                cron="30 3 * * *",
            )
        if self.config.progress_retention is not None:
            register(
                id=f"{self.store.name}.progress_retention",
                func=self.prune_progress,
                name="Delete old progress",
                description=f"Deletes progress events of what ended more than {self.config.progress_retention} ago.",
                cron="15 3 * * *",
            )

    @hookimpl
    async def try_connection(self, role: Role) -> str:
        """Connect to the server as a start would."""
        return await self.store.try_connection(role)

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
