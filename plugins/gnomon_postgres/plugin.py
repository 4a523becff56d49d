"""The plugin: its configuration, the PostgreSQL store, and daily jobs that keep the log from growing without limit."""

from __future__ import annotations

from gnomon.conversion import Secret
from gnomon.durations import Duration
from gnomon_postgres import log_address
from gnomon_postgres.schema.log_tables import problem_of_name
from gnomon_postgres.store import PostgresStore
from gnomon_shared_log.store_plugin import ServerStoreConfig, ServerStorePlugin


class PostgresPlugin(ServerStorePlugin):
    """Provides the PostgreSQL store, and deletes once a day what is older than `retention` and `progress_retention`."""

    class Config(ServerStoreConfig, forbid_unknown_fields=True):
        """See PostgresStore. `spool_limit` is in MiB; `spool` is relative to the config file's folder."""

        dsn: Secret = Secret("postgresql://127.0.0.1:5432/gnomon")
        schema: str = "gnomon"
        partition: Duration = Duration(days=1)

        def __post_init__(self) -> None:
            """Raise ValueError for an invalid value; `dsn` is not quoted, it may contain a password."""
            try:
                log_address.parse(self.dsn.reveal())
            except ValueError as exc:
                raise ValueError(f"dsn: not a connection string of PostgreSQL: {exc}") from None
            if problem := problem_of_name(self.schema):
                raise ValueError(f"schema: {problem}, got {self.schema!r}")
            super().__post_init__()
            if self.partition < Duration(minutes=1):
                raise ValueError(f"partition must be 1m or more, got {self.partition}")

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.store = PostgresStore(
            self.config.dsn.reveal(),
            self.config.schema,
            **self.config.settings,
            partition=self.config.partition,
        )
